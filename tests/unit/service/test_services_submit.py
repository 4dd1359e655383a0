"""Who asks services: what is refused before anything starts, and all or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from posetask.cli.main import app
from posetask.errors import InvalidParameters, OutputExists, PoseTaskError, Unavailable
from posetask.runtime.options import RunOptions
from posetask.runtime.service.client import ServiceClient
from posetask.runtime.service.submission import Submission
from posetask.runtime.sources import resolve

Open = Callable[..., Any]
WaitFor = Callable[..., None]

WORLD = "synth:seed=7,people=1,frames=20,size=160x90"
STAGES = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
NOWHERE = {name: ["http://127.0.0.1:9"] for name in STAGES}
Submit = Callable[..., Submission]


@pytest.fixture
def submission() -> Iterator[Submit]:
    """``submission(directory, output, …)``; nothing is started yet."""
    with ExitStack() as stack:

        def make(directory: dict[str, list[str]], output: Path, **options: Any) -> Submission:
            given = RunOptions.parse({"models": "demo", "formats": ("jsonl",), **options})
            client = stack.enter_context(ServiceClient(directory))
            return Submission(client, resolve(WORLD)[0], output, given)

        yield make


def test_each_service_is_told_what_its_stage_needs(submission: Submit, tmp_path: Path) -> None:
    task = submission(NOWHERE, tmp_path / "out.mp4", every_n=2, max_frames=9)
    bodies = task.bodies
    assert list(bodies) == list(STAGES)
    assert {body["task_id"] for body in bodies.values()} == {task.task_id}
    assert bodies["yolox"]["parameters"] == {"model": "demo"}
    assert (bodies["producer"]["source"], bodies["producer"]["max_frames"]) == (WORLD, 9)
    assert bodies["annotator"]["output"] == str(tmp_path / "out.mp4")
    assert bodies["annotator"]["metadata"]["detector"] == "demo-detector"
    assert "output" not in bodies["producer"]


def test_what_cannot_be_is_refused_before_anybody_is_asked(submission: Submit, tmp_path: Path) -> None:
    (tmp_path / "there.mp4").touch()
    with pytest.raises(OutputExists):
        submission(NOWHERE, tmp_path / "there.mp4")
    with pytest.raises(InvalidParameters, match="is no folder"):
        submission(NOWHERE, tmp_path / "none" / "out.mp4")
    with pytest.raises(Unavailable, match="rtmpose, bytetrack"):
        submission({name: NOWHERE[name] for name in ("producer", "yolox", "annotator")}, tmp_path / "out.mp4")


def test_where_one_service_is_away_none_keeps_the_task(
    open_service: Open, submission: Submit, tmp_path: Path, wait_for: WaitFor
) -> None:
    annotator = open_service("annotator")
    task = submission({**NOWHERE, "annotator": [annotator.url]}, tmp_path / "out.mp4")
    with pytest.raises(Unavailable, match="cannot be reached"):
        task.start()
    wait_for(lambda: annotator.service.status(task.task_id).status == "stopped")


@pytest.mark.parametrize("how", ["cancelled", "failed", "stopped"])
def test_a_task_that_ends_badly_in_one_stage_is_stopped_in_all(
    how: str, open_service: Open, submission: Submit, tmp_path: Path, wait_for: WaitFor
) -> None:
    residents = {name: open_service(name) for name in ("producer", "bytetrack", "annotator")}
    tracker = residents["bytetrack"]
    directory = {name: [residents.get(name, tracker).url] for name in STAGES}
    task = submission(directory, tmp_path / "out.mp4")
    for name in ("producer", "bytetrack", "annotator"):
        task._client.start(name, task.bodies[name])
    assert task.wait(0) is None
    if how == "cancelled":
        task.cancel()
    elif how == "failed":
        tracker.work(task.task_id).end(error=InvalidParameters("it cannot be"))
    else:
        tracker.service.stop(task.task_id)
    expected = {"cancelled": "Cancelled", "failed": "InvalidParameters", "stopped": "TaskConflict"}[how]
    with pytest.raises(PoseTaskError) as caught:
        task.wait(20)
    assert caught.value.reason == expected
    for resident in residents.values():
        wait_for(
            lambda resident=resident: resident.service.status(task.task_id).status in ("stopped", "failed")
        )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list", "--at", "nothing"), 20, "does not exist"),
        (("list", "--at", "yolox=here"), 20, "STAGE=URL"),
        (("list", "--at", "yolox=http://127.0.0.1:9"), 30, "cannot be reached"),
        (("status", "a-1", "--at", "yolox=http://127.0.0.1:9"), 30, "cannot be reached"),
        (("stop", "a-1", "--at", "yolox=http://127.0.0.1:9"), 30, "cannot be reached"),
        (("complete", "a-1", "--at", "yolox=http://127.0.0.1:9"), 30, "no producer service"),
        (("submit", "missing.mp4", "--at", "yolox=http://127.0.0.1:9"), 20, "missing.mp4"),
        (("up", "--stage", "nonesuch", "--free-ports"), 20, "nonesuch"),
        (("up", "--count", "yolox=0"), 20, "STAGE=N"),
        (("up", "--stage", "yolox", "--count", "producer=2"), 20, "producer"),
    ],
)
def test_the_commands_say_what_is_wrong(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, ["services", *arguments])
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
