"""Tasks in SQLite, and the folder around it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from posetask.errors import InvalidParameters, ModelError, NotAvailable, UnknownTask
from posetask.runtime.reports import Failure
from posetask_api.local.backend import LocalBackend
from posetask_api.local.folder import DataFolder
from posetask_api.local.store import TaskStore
from posetask_api.model import Task
from posetask_api.settings import ApiSettings, LocalSettings, parse

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def test_a_task_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    failure = Failure(reason="NotAVideo", message="it is none", hint="give one", exit_code=20)
    whole = Task("task-1", "ü.mp4", "failed", NOW, NOW, NOW, 3, 9, "abc", failure)
    store = TaskStore(tmp_path / "tasks.db")
    store.add(whole)
    store.add(Task("task-2", "b.mp4", "queued", NOW))
    store.close()
    again = TaskStore(tmp_path / "tasks.db")
    assert again.get("task-1") == whole
    assert again.get("task-2") == Task("task-2", "b.mp4", "queued", NOW)
    assert again.counts() == {"queued": 1, "running": 0, "completed": 0, "failed": 1}
    assert again.ids() == {"task-1", "task-2"}
    with pytest.raises(UnknownTask) as caught:
        again.get("task-3")
    assert caught.value.hint
    with pytest.raises(UnknownTask):
        again.update("task-3", frames=1)
    again.close()


def test_unfinished_tasks_come_in_the_order_of_their_upload(tmp_path: Path) -> None:
    store = TaskStore(tmp_path / "tasks.db")
    for number, state in enumerate(["completed", "running", "queued", "failed", "queued"]):
        store.add(Task(f"task-{number}", "a", state, NOW + timedelta(seconds=number)))  # type: ignore[arg-type]
    assert [task.task_id for task in store.unfinished()] == ["task-1", "task-2", "task-4"]
    store.close()


def test_many_threads_lose_no_update(tmp_path: Path) -> None:
    store = TaskStore(tmp_path / "tasks.db")
    store.add(Task("a", "a", "running", NOW))
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda n: store.update("a", **({"frames": n} if n % 2 else {"total": n})), range(1, 81))
        )
    assert store.get("a").frames % 2 == 1
    assert (store.get("a").total or 1) % 2 == 0
    store.close()


@pytest.mark.parametrize(
    ("frames", "total", "state", "progress"),
    [
        (0, None, "queued", "0%"),
        (5, None, "running", "0%"),
        (17, 20, "running", "85%"),
        (20, 20, "running", "99%"),
        (30, 20, "running", "99%"),
        (20, 20, "completed", "100%"),
        (0, None, "completed", "100%"),
        (5, 20, "failed", "25%"),
    ],
)
def test_progress_says_100_of_what_is_complete_alone(
    frames: int, total: int | None, state: str, progress: str
) -> None:
    assert Task("a", "a", state, NOW, frames=frames, total=total).progress == progress  # type: ignore[arg-type]


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no database" * 100)
    with pytest.raises(NotAvailable, match="cannot be used"):
        TaskStore(tmp_path / "other.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(NotAvailable, match="version 99"):
        TaskStore(tmp_path / "newer.db")


def test_a_folder_has_one_server_and_forgets_what_never_became_a_task(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with pytest.raises(NotAvailable, match="another server"):
        DataFolder(tmp_path / "data")
    half = folder.new_upload()
    (half / "source").mkdir()
    (half / "source" / "a.mp4").touch()
    whole = folder.new_upload()
    (whole / "source").mkdir()
    (whole / "source" / "b.mp4").touch()
    task_id = folder.adopt(whole)
    lost = folder.adopt(folder.new_upload())
    folder.sweep(frozenset({task_id}))
    assert not half.exists()
    assert not folder.task(lost).exists()
    assert folder.source(task_id).name == "b.mp4"
    folder.close()
    DataFolder(tmp_path / "data").close()


@pytest.mark.parametrize(
    "task_id", ["", "..", "task-", "task-0123456789ABCDEF", "task-0123456789abcdef0", "a" * 999]
)
def test_an_id_that_is_none_names_no_folder(task_id: str, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with pytest.raises(UnknownTask):
        folder.task(task_id)
    good = "task-0123456789abcdef"
    for name in ("../result.mp4", "run.id", "manifest.json", "segment_1.m4s", "stream.m3u8/x"):
        assert folder.stream(good, name) is None
    assert folder.stream(good, "segment_00001.m4s") is not None
    folder.close()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"listen": "0.0.0.0:80"}, "needs a token"),
        ({"listen": "everywhere"}, "listen"),
        ({"token": "short"}, "16 characters"),
        ({"most_bytes": 0}, "most_bytes"),
        ({"public_url": "ftp://x"}, "public_url"),
    ],
)
def test_settings_that_cannot_be_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidParameters, match=words) as caught:
        parse(ApiSettings, **values)
    assert "short" not in str(caught.value)


def test_a_home_needs_its_models_and_known_formats(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameters, match="unknown formats xml"):
        parse(LocalSettings, data=tmp_path, formats=("xml",))
    with pytest.raises(ModelError):
        LocalBackend(parse(LocalSettings, data=tmp_path / "data", detector="no-such-model", pose="demo"))
    assert not (tmp_path / "data").exists()
