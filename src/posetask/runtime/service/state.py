"""What outlives a service: one file for each task, and whether the last process left in good order."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from posetask.errors import NotAvailable
from posetask.runtime.reports import Failure, StageReport
from posetask.runtime.service.contract import StartRequest
from posetask.runtime.stagespec import StageProcessSpec
from posetask.storage.durable import storage_errors, write_durably

logger = logging.getLogger(__name__)

ADDRESS = "address"


class TaskRecord(BaseModel):
    """A task as it stands in the folder; replaced, never changed."""

    model_config = ConfigDict(frozen=True)

    request: StartRequest = Field(description="as it came; a second start is compared with it")
    spec: StageProcessSpec
    status: Literal["active", "completed", "stopped", "failed"] = "active"
    created_at: float
    ended_at: float | None = None
    completing: bool = Field(False, description="the stream is to end early")
    forget: bool = Field(False, description="gone from the list as soon as nothing is left to do")
    topics_removed: bool = False
    report: StageReport | None = Field(None, description="the last word of the work")
    error: Failure | None = None

    @property
    def task_id(self) -> str:
        """Id of the run."""
        return self.request.task_id

    def changed(self, **fields: object) -> Self:
        """The same with other values."""
        return self.model_copy(update=fields)


def lock_folder(path: Path, what: str) -> int:
    """Take a folder for this process alone, until the descriptor is closed; made where it is missing.

    Args:
        path: The folder.
        what: Who works in it, in words.

    Raises:
        NotAvailable: Another process has it.
        OutputError: It cannot be written.
    """
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise NotAvailable(
            f"another {what} works in {path}", hint="give this one a folder of its own with --state"
        ) from None
    return lock


class StateFolder:
    """A folder that belongs to one service process at a time.

    Args:
        path: Made where it is missing.

    Attributes:
        unclean: The process before this one died; said once.

    Raises:
        NotAvailable: Another process works in it.
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tasks = path / "tasks"
        self._lock = lock_folder(path, "service")
        with storage_errors(path):
            self._tasks.mkdir(exist_ok=True)
        clean = path / "clean"
        self.unclean = not clean.exists() and any(self._tasks.glob("*.json"))
        clean.unlink(missing_ok=True)
        (path / ADDRESS).unlink(missing_ok=True)

    def load(self) -> list[TaskRecord]:
        """All tasks, the oldest first; what cannot be read is left where it is, and said."""
        found = []
        for path in self._tasks.glob("*.json"):
            try:
                found.append(TaskRecord.model_validate(json.loads(path.read_bytes())))
            except (OSError, ValueError) as error:  # of pydantic's errors too
                logger.warning("%s is passed over, it cannot be read: %s", path, error)
        return sorted(found, key=lambda record: (record.created_at, record.task_id))

    def save(self, record: TaskRecord) -> None:
        """Write a task down before anyone is told.

        Raises:
            OutputError: The folder cannot be written.
        """
        text = record.model_dump_json(exclude_defaults=True)
        write_durably(self._file(record.task_id), text.encode())

    def drop(self, task_id: str) -> None:
        """Forget a task."""
        self._file(task_id).unlink(missing_ok=True)

    def say_address(self, url: str) -> None:
        """Leave where the service listens, for whoever started it on any free port."""
        write_durably(self.path / ADDRESS, url.encode())

    def close(self, *, clean: bool) -> None:
        """Leave the folder; ``clean``: nothing was under way any more."""
        if clean:
            (self.path / "clean").touch()
        os.close(self._lock)

    def _file(self, task_id: str) -> Path:
        return self._tasks / f"{task_id}.json"
