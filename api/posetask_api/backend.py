"""The one interface behind the routes. Its homes: this machine (:mod:`posetask_api.local`), or a cluster."""

from __future__ import annotations

from typing import Protocol

from posetask_api.model import Link, LocalFile, StoredObject, Task


class Upload(Protocol):
    """A file that is coming in. It is stored as it comes: never whole in memory, nor anywhere twice."""

    async def write(self, data: bytes) -> None:
        """The next bytes.

        Raises:
            StorageFull: No space left.
        """
        ...

    async def discard(self) -> None:
        """Forget all of it. Harmless after it was submitted."""
        ...


class TaskBackend(Protocol):
    """Where tasks live."""

    async def start(self) -> None:
        """Begin to work, where the last process left off."""
        ...

    async def close(self) -> None:
        """Stop working; what is under way goes on after the next start."""
        ...

    async def begin(self, name: str) -> Upload:
        """A place for an upload; ``name`` is the file's, cleaned.

        Raises:
            QueueFull: There is too much to do already.
        """
        ...

    async def submit(self, upload: Upload, request_id: str) -> Task:
        """Look at a whole upload, and make it a task that outlives this process.

        Raises:
            InputError: It is no video that can be worked; there is no task.
        """
        ...

    async def find(self, task_id: str) -> Task:
        """What is known of a task.

        Raises:
            UnknownTask: There is none of this id.
        """
        ...

    async def result(self, task_id: str) -> LocalFile | Link | StoredObject:
        """The annotated video.

        Raises:
            UnknownTask: There is no task of this id.
            ResultNotReady: It has none yet.
            TaskFailed: It will never have one.
        """
        ...

    async def stream_file(self, task_id: str, name: str) -> LocalFile | Link | StoredObject:
        """A file of the HLS stream: playlist, initialisation, or a segment.

        Raises:
            UnknownTask: There is no task of this id.
            ResultNotReady: It is not there yet.
        """
        ...

    async def counts(self) -> dict[str, int]:
        """How many tasks are in each state."""
        ...
