"""Tasks in SQLite: what was said to exist exists after a power cut."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from posetask.errors import NotAvailable, StorageFull, UnknownTask
from posetask.runtime.reports import Failure
from posetask_api.model import State, Task

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    created TEXT NOT NULL,
    started TEXT,
    ended TEXT,
    frames INTEGER NOT NULL,
    total INTEGER,
    request_id TEXT NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS by_state ON tasks (state, created);
"""
_COLUMNS = (
    "task_id", "name", "state", "created", "started", "ended", "frames", "total", "request_id", "error",
)  # fmt: skip
_VERSION = 1


class TaskStore:
    """All tasks of one folder. Thread-safe.

    Args:
        path: Of the database.

    Raises:
        NotAvailable: It is no database of ours, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                self._db.close()
                raise NotAvailable(f"{path} is of version {version}", hint="use the program that wrote it")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            raise NotAvailable(
                f"{path} cannot be used ({error})", hint="give another --data folder"
            ) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def add(self, task: Task) -> None:
        """Keep a new task.

        Raises:
            StorageFull: No space left.
        """
        marks = ", ".join("?" * len(_COLUMNS))
        with self._writing() as db:
            db.execute(f"INSERT INTO tasks VALUES ({marks})", _row(task))  # noqa: S608 - marks alone

    def get(self, task_id: str) -> Task:
        """One task.

        Raises:
            UnknownTask: There is none of this id.
        """
        with self._lock:
            row = self._db.execute("SELECT * FROM tasks WHERE task_id = ?", (task_id,)).fetchone()
        if row is None:
            raise UnknownTask(f"there is no task {task_id!r}", hint="POST /upload made an id; check it")
        return _task(row)

    def update(self, task_id: str, **changes: Any) -> Task:
        """Change fields of a task.

        Raises:
            UnknownTask: There is none of this id.
            StorageFull: No space left.
        """
        with self._writing() as db:
            row = db.execute("SELECT * FROM tasks WHERE task_id = ?", (task_id,)).fetchone()
            if row is None:
                raise UnknownTask(f"there is no task {task_id!r}")
            task = replace(_task(row), **changes)
            marks = ", ".join("?" * len(_COLUMNS))
            db.execute(f"REPLACE INTO tasks VALUES ({marks})", _row(task))  # noqa: S608 - marks alone
        return task

    def unfinished(self) -> list[Task]:
        """Tasks that are at work or wait, in the order in which they came."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM tasks WHERE state IN ('running', 'queued') ORDER BY created, rowid"
            ).fetchall()
        return [_task(row) for row in rows]

    def ids(self) -> frozenset[str]:
        """Of all tasks."""
        with self._lock:
            return frozenset(row[0] for row in self._db.execute("SELECT task_id FROM tasks"))

    def counts(self) -> dict[str, int]:
        """Tasks by state; states without any included."""
        with self._lock:
            found = dict(self._db.execute("SELECT state, count(*) FROM tasks GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in get_args(State)}

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                    raise StorageFull(f"no space left for the list of tasks ({error})") from error
                raise


def _row(task: Task) -> tuple[object, ...]:
    return (
        task.task_id,
        task.name,
        task.state,
        task.created.isoformat(),
        task.started.isoformat() if task.started else None,
        task.ended.isoformat() if task.ended else None,
        task.frames,
        task.total,
        task.request_id,
        task.error.model_dump_json() if task.error else None,
    )


def _task(row: tuple[Any, ...]) -> Task:
    found = dict(zip(_COLUMNS, row, strict=True))
    for name in ("created", "started", "ended"):
        found[name] = datetime.fromisoformat(found[name]).astimezone(UTC) if found[name] else None
    if found["error"] is not None:
        found["error"] = Failure.model_validate_json(found["error"])
    return Task(**found)
