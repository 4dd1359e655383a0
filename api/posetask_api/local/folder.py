"""Where a local server keeps everything: uploads under way, and a folder for each task."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

from posetask.errors import NotAvailable, UnknownTask
from posetask.stages.names import stream_folder
from posetask.storage.durable import storage_errors

_ID = re.compile(r"task-[0-9a-f]{16}")
_STREAM = re.compile(r"stream\.m3u8|init\.mp4|segment_\d{5,9}\.m4s")


class DataFolder:
    """One server's folder; a second server is kept out.

    Args:
        root: Made where it is not there.

    Raises:
        NotAvailable: Another server has it.
        OutputError: It cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        with storage_errors(self.root):
            for folder in (self.root, self._incoming, self._tasks):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock: BinaryIO = (self.root / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise NotAvailable(
                f"another server works in {self.root}", hint="stop it, or give another --data"
            ) from None

    def close(self) -> None:
        """Let another server have it."""
        self._lock.close()

    def sweep(self, known: frozenset[str]) -> None:
        """Remove uploads that never became a task; for a server that has just started."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        with storage_errors(self._incoming):
            self._incoming.mkdir(mode=0o700)
        for folder in self._tasks.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def new_upload(self) -> Path:
        """A folder for one upload."""
        folder = self._incoming / secrets.token_hex(8)
        with storage_errors(folder):
            folder.mkdir(mode=0o700)
        return folder

    def adopt(self, upload: Path) -> str:
        """Make a whole upload a task's folder, durably; returns the new task's id."""
        task_id = f"task-{secrets.token_hex(8)}"
        with storage_errors(upload):
            (upload / "result").mkdir(mode=0o700)
            upload.rename(self._tasks / task_id)
            for folder in (self._tasks / task_id, self._tasks):
                handle = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        return task_id

    def task(self, task_id: str) -> Path:
        """The folder of a task.

        Raises:
            UnknownTask: This is no id of a task.
        """
        if not _ID.fullmatch(task_id):
            raise UnknownTask(f"there is no task {task_id[:80]!r}", hint="POST /upload made an id; check it")
        return self._tasks / task_id

    def source(self, task_id: str) -> Path:
        """The uploaded file."""
        return next((self.task(task_id) / "source").iterdir())

    def result(self, task_id: str) -> Path:
        """The annotated video."""
        return self.task(task_id) / "result" / "result.mp4"

    def stream(self, task_id: str, name: str) -> Path | None:
        """A file of its HLS stream; None for what is none."""
        return stream_folder(self.result(task_id)) / name if _STREAM.fullmatch(name) else None

    @property
    def _incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def _tasks(self) -> Path:
        return self.root / "tasks"
