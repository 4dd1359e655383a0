"""A task in a service: tried again where that helps, failed where not, found again by the next process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetask.errors import (
    InvalidParameters,
    KafkaUnavailable,
    ModelCorrupt,
    NotAvailable,
    StorageFull,
    TaskConflict,
)
from posetask.runtime.service import task as task_module
from posetask.runtime.service.contract import StartRequest, parse_start
from posetask.runtime.service.settings import ServiceSettings, read_token
from posetask.runtime.service.state import StateFolder, TaskRecord

Open = Callable[..., Any]
WaitFor = Callable[..., None]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long before he tries again."""
    monkeypatch.setattr(task_module, "LONGEST_BACKOFF_SECONDS", 0.02)


def started(resident: Any, task_id: str, **fields: Any) -> None:
    resident.service.start(parse_start({"task_id": task_id, **fields}))


@pytest.mark.usefixtures("quick")
def test_what_a_retry_can_mend_is_tried_again_until_it_works(open_service: Open, wait_for: WaitFor) -> None:
    resident = open_service()
    started(resident, "a")
    for turn in range(4):
        wait_for(lambda turn=turn: len(resident.works.get("a", [])) == turn + 1)
        resident.work("a").end(error=KafkaUnavailable("no broker answers"))
    wait_for(lambda: len(resident.works["a"]) == 5)
    status = resident.service.status("a")
    assert (status.tries, status.error.reason) == (5, "KafkaUnavailable")
    resident.work("a").end()
    wait_for(lambda: resident.service.status("a").status == "completed")
    assert resident.service.status("a").error is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "tries"),
    [(ModelCorrupt("it does not load"), 1), (StorageFull("no space"), task_module.MOST_TRIES)],
)
def test_what_it_cannot_mend_fails_the_task_with_that_error(
    error: Any, tries: int, open_service: Open, wait_for: WaitFor
) -> None:
    resident = open_service()
    started(resident, "a")
    for turn in range(tries):
        wait_for(lambda turn=turn: len(resident.works.get("a", [])) == turn + 1)
        resident.work("a").end(error=error)
    wait_for(lambda: resident.service.status("a").status == "failed")
    status = resident.service.status("a")
    assert (status.error.reason, status.error.exit_code) == (error.reason, error.exit_code)
    assert status.ended_at is not None
    assert len(resident.works["a"]) == tries


@pytest.mark.usefixtures("quick")
def test_progress_earns_new_tries(open_service: Open, wait_for: WaitFor) -> None:
    resident = open_service()
    started(resident, "a")
    for turn in range(2 * task_module.MOST_TRIES):
        wait_for(lambda turn=turn: len(resident.works.get("a", [])) == turn + 1)
        work = resident.work("a")
        work.frames = 1 + turn
        wait_for(lambda turn=turn: resident.service._tasks["a"]._frames == turn + 1)
        work.end(error=KafkaUnavailable("away again"))
    wait_for(lambda: len(resident.works["a"]) > 2 * task_module.MOST_TRIES)


def test_a_task_through_which_nothing_goes_has_failed(open_service: Open, wait_for: WaitFor) -> None:
    resident = open_service()
    started(resident, "still", no_frames_seconds=0.2)
    started(resident, "patient")
    wait_for(lambda: resident.service.status("still").status == "failed")
    assert resident.service.status("still").error.reason == "NoFrames"
    assert resident.work("still").stopping
    assert resident.service.status("patient").status == "running"


def test_a_stopped_task_can_be_resumed_until_its_topics_are_gone(
    open_service: Open, topics: dict[str, list[str]], red_clip: Path, tmp_path: Path, wait_for: WaitFor
) -> None:
    resident = open_service("annotator")
    fields = {"source": str(red_clip), "output": str(tmp_path / "out.mp4")}
    started(resident, "soon", topics_after_seconds=0.3, **fields)
    started(resident, "never", topics_after_seconds=None, **fields)
    for task_id in ("soon", "never"):
        resident.work(task_id)
        resident.service.stop(task_id)
    wait_for(lambda: resident.service.status("soon").topics_removed)
    assert topics["removed"] == ["soon"]
    with pytest.raises(TaskConflict, match="topics of task soon are removed"):
        started(resident, "soon")
    started(resident, "never")
    wait_for(lambda: len(resident.works["never"]) == 2)


def test_the_brokers_may_be_away_when_topics_are_to_go(
    open_service: Open, red_clip: Path, tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posetask.runtime.service import janitor

    resident = open_service("annotator")
    asked: list[str] = []

    def remove(kafka: Any, run: str) -> list[str]:
        asked.append(run)
        if len(asked) < 3:
            raise KafkaUnavailable("away")
        return []

    monkeypatch.setattr(janitor, "remove_run", remove)
    monkeypatch.setattr(janitor, "RETRY_SECONDS", 0.01)
    started(resident, "a", source=str(red_clip), output=str(tmp_path / "out.mp4"), topics_after_seconds=0)
    resident.work("a").end()
    wait_for(lambda: resident.service.status("a").topics_removed)
    assert asked == ["a", "a", "a"]


def left(folder: Path, *, clean: bool, **statuses: str) -> None:
    """What an earlier process left: tasks in the order given."""
    state = StateFolder(folder)
    for number, (task_id, status) in enumerate(statuses.items()):
        request = StartRequest(task_id=task_id)
        record = TaskRecord(request=request, spec=request.spec("bytetrack"), created_at=float(number))
        state.save(record.changed(status=status))
    state.close(clean=clean)


def test_after_a_clean_end_all_tasks_go_on_at_once(
    open_service: Open, topics: dict[str, list[str]], tmp_path: Path, wait_for: WaitFor
) -> None:
    left(tmp_path / "bytetrack", clean=True, a="active", b="active", c="completed", d="stopped")
    resident = open_service()
    wait_for(lambda: set(resident.works) == {"a", "b"})
    shown = {task.task_id: task.status for task in resident.service.tasks().tasks}
    assert (shown["c"], shown["d"]) == ("completed", "stopped")
    assert topics["made"] == []


def test_after_an_unclean_one_they_go_on_one_at_a_time(
    open_service: Open, tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "_FIRST_LOOK_SECONDS", 0.05)
    left(tmp_path / "bytetrack", clean=False, a="active", b="active")
    resident = open_service()
    first = resident.work("a")
    started(resident, "new")
    wait_for(lambda: resident.service._tasks["a"]._base == 0)
    assert set(resident.works) == {"a"}
    assert resident.service.status("b").status == resident.service.status("new").status == "queued"
    first.frames = task_module.CAREFUL_FRAMES
    second = resident.work("b")
    assert set(resident.works) == {"a", "b"}, "the first is over the place; the second is not"
    second.end()
    resident.work("new")


def test_a_folder_has_one_service_and_a_damaged_file_costs_one_task(tmp_path: Path) -> None:
    left(tmp_path, clean=True, a="active", b="active")
    state = StateFolder(tmp_path)
    with pytest.raises(NotAvailable, match="another service"):
        StateFolder(tmp_path)
    (tmp_path / "tasks" / "a.json").write_text("{")
    assert [record.task_id for record in state.load()] == ["b"]
    assert not state.unclean
    state.close(clean=False)
    again = StateFolder(tmp_path)
    assert again.unclean
    again.close(clean=True)


def test_a_task_reads_back_as_it_was_written(tmp_path: Path) -> None:
    request = parse_start(
        {
            "task_id": "a",
            "source": "in.mp4",
            "output": "/srv/out.mp4",
            "formats": ["mot"],
            "metadata": {"source": "in", "width": 4, "height": 2},
            "encoder": {"crf": 20},
        }
    )
    state = StateFolder(tmp_path)
    record = TaskRecord(request=request, spec=request.spec("annotator"), created_at=1.0)
    state.save(record)
    assert state.load() == [record]
    state.drop("a")
    assert state.load() == []
    state.close(clean=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"listen": "0.0.0.0:8102"}, "needs a token"),
        ({"listen": "0.0.0.0:8102", "token": 20 * "x"}, "files"),
        ({"listen": "yolox:8102"}, "needs a token"),
        ({"listen": "127.0.0.1:8102", "token": "short"}, "16 characters"),
        ({"listen": "8102"}, "listen"),
        ({"listen": "127.0.0.1:1", "tls_key": "a.pem"}, "come together"),
        ({"listen": "127.0.0.1:1", "device": "tpu"}, "device"),
    ],
)
def test_a_service_that_others_could_misuse_does_not_start(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameters, match=words) as caught:
        ServiceSettings.parse(stage="yolox", state=tmp_path, **given)
    assert "short" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:1", "localhost:1"])
def test_on_loopback_no_token_is_needed(listen: str, tmp_path: Path) -> None:
    assert ServiceSettings.parse(stage="yolox", state=tmp_path, listen=listen).token is None


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSETASK_SERVICE_TOKEN", "from-the-environment")
    assert read_token(None) == "from-the-environment"
    (tmp_path / "token").write_text(" from-a-file \n")
    assert read_token(tmp_path / "token") == "from-a-file"
    for name, text in (("empty", ""), ("missing", None)):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(InvalidParameters, match=name):
            read_token(tmp_path / name)


def test_totals_do_not_shrink_when_a_task_ends(open_service: Open, wait_for: WaitFor) -> None:
    resident = open_service()
    for task_id in ("a", "b"):
        started(resident, task_id)
        resident.work(task_id)
        resident.service._on_batch(3)
    assert b'posetask_stage_read_bytes_total{topic="raw_frames"} 20.0' in resident.service.metrics.render()
    resident.work("a").end()
    wait_for(lambda: resident.service.status("a").status == "completed")
    said = resident.service.metrics.render().decode()
    for line in (
        "posetask_stage_frames_total 6.0",
        'posetask_stage_read_bytes_total{topic="raw_frames"} 20.0',
        'posetask_stage_lag_records{topic="raw_frames"} 2.0',
        "posetask_stage_written_bytes_total 10.0",
        'posetask_service_tasks{state="completed"} 1.0',
        'posetask_service_tasks{state="running"} 1.0',
    ):
        assert line in said
