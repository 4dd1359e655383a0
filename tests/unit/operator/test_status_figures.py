"""Progress, models and result, as the stages' words make them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from posetask.spec import PoseTaskStatus, Progress
from posetask_operator.core.figures import with_figures
from posetask_operator.core.gang import view
from posetask_operator.core.observed import Observed, ReportSeen, TaskSeen
from posetask_operator.settings import Settings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
MakeTask = Callable[..., TaskSeen]
MakeSeen = Callable[..., Observed]


def words(
    decoded: int, annotated: int, state: str = "running", at: datetime = START, **decode: Any
) -> dict[str, ReportSeen]:
    return {
        "producer": ReportSeen("producer", state, at, decoded, facts={"decode": decode}),
        "annotator": ReportSeen("annotator", "running", at, annotated),
    }


def shown(
    settings: Settings, make_seen: MakeSeen, task: TaskSeen, reports: Any, *, now: datetime = START
) -> Progress:
    seen = replace(make_seen(task), now=now, reports=reports)
    found = with_figures(view(seen, settings), task.status).progress
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("source", "reports", "total", "percent", "summary"),
    [
        ({}, words(50, 20, frames_declared=100), 100, 20, "20%"),
        ({"maxFrames": 40}, words(40, 20, frames_declared=100), 40, 50, "50%"),
        ({}, words(50, 20), None, None, "20 frames"),
        ({"durationSeconds": 2}, words(50, 20, frames_declared=100), None, None, "20 frames"),
        ({}, words(60, 60, "done", frames_declared=100), 60, 99, "99%"),
        ({}, words(120, 110, frames_declared=100), 100, 99, "99%"),
        ({}, words(0, 0, frames_declared="many"), None, None, "0 frames"),
    ],
)
def test_percent_is_of_what_is_known_of_the_source(
    settings: Settings,
    make_seen: MakeSeen,
    make_task: MakeTask,
    source: Any,
    reports: Any,
    total: int | None,
    percent: int | None,
    summary: str,
) -> None:
    task = make_task({"source": {"uri": "synth:frames=100"} | source})
    found = shown(settings, make_seen, task, reports)
    assert (found.frames_total, found.percent, found.summary) == (total, percent, summary)


def test_a_live_source_has_no_total(make_settings: Any, make_seen: MakeSeen, make_task: MakeTask) -> None:
    task = make_task({"source": {"uri": "rtsp://cam/1"}})
    found = shown(make_settings(), make_seen, task, words(50, 20, frames_declared=100))
    assert (found.frames_total, found.percent) == (None, None)


def test_frames_never_go_back_when_a_stage_begins_anew(
    settings: Settings, make_seen: MakeSeen, make_task: MakeTask
) -> None:
    status = PoseTaskStatus(progress=Progress(frames_decoded=80, frames_annotated=60, update_time=START))
    found = shown(settings, make_seen, make_task(status=status), words(5, 0))
    assert (found.frames_decoded, found.frames_annotated) == (80, 60)


def test_speed_is_what_was_annotated_since_the_last_write(
    settings: Settings, make_seen: MakeSeen, make_task: MakeTask
) -> None:
    status = PoseTaskStatus(progress=Progress(frames_annotated=60, update_time=START))
    now = START + timedelta(seconds=10)
    found = shown(settings, make_seen, make_task(status=status), words(300, 310, at=now), now=now)
    assert (found.fps, found.update_time) == ("25.0", now)
    status = PoseTaskStatus(progress=found)
    again = shown(settings, make_seen, make_task(status=status), words(300, 310, at=now), now=now)
    assert again == found
    idle = now + timedelta(seconds=30)
    assert shown(settings, make_seen, make_task(status=status), words(300, 310, at=now), now=idle).fps == ""


def test_without_a_word_nothing_is_said(settings: Settings, make_seen: MakeSeen, make_task: MakeTask) -> None:
    seen = make_seen(make_task())
    assert with_figures(view(seen, settings), seen.task.status).progress is None


def test_models_are_named_when_asked_for_and_pinned_when_loaded(
    settings: Settings, make_seen: MakeSeen, make_task: MakeTask
) -> None:
    task = make_task({"stages": [{"name": "yolox", "model": "yolox-s"}]}, status=PoseTaskStatus(attempt=1))
    seen = make_seen(task)
    first = with_figures(view(seen, settings), task.status)
    assert [(m.stage, m.name, m.sha256) for m in first.models] == [("yolox", "yolox-s", "")]
    facts = {"model": {"name": "yolox-s", "sha256": "a" * 64}}
    seen = replace(seen, reports={"yolox": ReportSeen("yolox", "running", START, 1, facts=facts)})
    second = with_figures(view(seen, settings), first)
    assert second.models[0].sha256 == "a" * 64
    seen = replace(seen, reports={})
    assert with_figures(view(seen, settings), second).models == second.models
