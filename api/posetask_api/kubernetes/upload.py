"""An upload on its way into an object store: a few megabytes in memory, the rest there already."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator

from posetask.errors import PoseTaskError, StageFailed
from posetask.storage.location import Location
from posetask.storage.s3 import S3

PART_BYTES = 8 * 2**20
"""What is sent at once; S3 wants 5 MiB at least."""


class _GivenUp(Exception):
    """The client left, or was refused."""


class StoredUpload:
    """Sends what comes, part by part, on a thread of its own; nothing is there before all of it is.

    Args:
        store: Where to.
        at: The object.
        name: Of the file, cleaned.
        task_id: Of the task that it may become.
    """

    def __init__(self, store: S3, at: Location, name: str, task_id: str) -> None:
        self.at, self.name, self.task_id, self.size = at, name, task_id, 0
        self._store = store
        self._buffer = bytearray()
        self._parts: queue.Queue[bytes | None] = queue.Queue(maxsize=1)
        self._leaving = threading.Event()
        self._failure: PoseTaskError | None = None
        self._sent = False
        self._thread = threading.Thread(target=self._send, name=f"upload-{task_id}", daemon=True)
        self._thread.start()

    async def write(self, data: bytes) -> None:
        """The next bytes."""
        self.size += len(data)
        self._buffer += data
        if len(self._buffer) >= PART_BYTES:
            part, self._buffer = bytes(self._buffer), bytearray()
            await self._put(part)

    async def finish(self) -> None:
        """Send the rest, and wait until the object is there.

        Raises:
            PoseTaskError: The store is away, or refuses.
        """
        if self._buffer:
            part, self._buffer = bytes(self._buffer), bytearray()
            await self._put(part)
        await self._put(None)
        await asyncio.to_thread(self._thread.join)
        if self._failure is not None:
            raise self._failure

    async def discard(self) -> None:
        """Leave nothing in the store."""
        self._leaving.set()
        await asyncio.to_thread(self._thread.join)
        if self._sent:
            await asyncio.to_thread(self._store.delete, self.at)

    async def _put(self, part: bytes | None) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                await asyncio.to_thread(self._parts.put, part, True, 0.5)
                return
            except queue.Full:
                continue

    def _send(self) -> None:
        try:
            self._store.upload_parts(self._take(), self.at)
            self._sent = True
        except _GivenUp:
            return
        except PoseTaskError as error:
            self._failure = error
        except Exception as error:
            self._failure = StageFailed(f"the upload failed: {type(error).__name__}: {error}")

    def _take(self) -> Iterator[bytes]:
        while True:
            if self._leaving.is_set():
                raise _GivenUp
            try:
                part = self._parts.get(timeout=0.2)
            except queue.Empty:
                continue
            if part is None:
                return
            yield part
