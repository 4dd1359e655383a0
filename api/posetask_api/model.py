"""What goes over the wire, and what a backend says of a task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from posetask.runtime.reports import Failure, error_of
from posetask.storage.location import Location
from posetask.storage.s3 import S3

State = Literal["queued", "running", "completed", "failed"]


@dataclass(frozen=True, slots=True)
class Task:
    """One upload and what became of it.

    Attributes:
        task_id: Made by the server.
        name: Of the file, as its sender called it; cleaned.
        state: See :data:`State`.
        frames: Annotated so far.
        total: Frames that there will be, as far as is known.
        request_id: Of the upload.
        error: Why it failed.
    """

    task_id: str
    name: str
    state: State
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    frames: int = 0
    total: int | None = None
    request_id: str = ""
    error: Failure | None = None

    @property
    def progress(self) -> str:
        """Per cent of the frames; 100% is said of a completed task alone.

        >>> from datetime import UTC
        >>> Task("a", "a.mp4", "running", datetime.now(UTC), frames=17, total=20).progress
        '85%'
        """
        if self.state == "completed":
            return "100%"
        if not self.total:
            return "0%"
        return f"{min(99, 100 * self.frames // self.total)}%"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A result that lies here."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Link:
    """A result that lies elsewhere, for whoever has the address, for a while."""

    url: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A result in an object store, which this server reads for the client."""

    at: Location
    size: int
    etag: str
    name: str
    store: S3


class UploadAccepted(BaseModel):
    """The upload was read and found to be a video; the task exists and will survive a restart."""

    model_config = ConfigDict(frozen=True)

    task_id: str = Field(description="Name of the task in every other call.")
    message: str = Field(description="In words.")
    stream_url: str = Field(
        description="HLS playlist of the annotated video, from its first seconds on; 404 until then."
    )


class TaskError(BaseModel):
    """Why a task failed."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(description="As in a problem document.")
    message: str
    hint: str = Field("", description="What to do next.")
    retryable: bool = Field(False, description="Whether the same upload can succeed later.")


class TaskStatus(BaseModel):
    """How far a task is."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: State
    progress: str = Field(description='Per cent of the frames, for example "85%".')
    name: str = Field(description="Of the file that was uploaded.")
    frames: int = Field(description="Annotated so far.")
    frames_total: int | None = Field(description="That there will be; null where the file does not say.")
    created: datetime
    started: datetime | None
    ended: datetime | None
    result_url: str | None = Field(description="Of the annotated MP4, once it is there.")
    stream_url: str = Field(description="HLS playlist of the annotated video.")
    error: TaskError | None

    @classmethod
    def of(cls, task: Task, *, result_url: str, stream_url: str) -> Self:
        """From what a backend says."""
        error = None
        if task.error is not None:
            known = error_of(task.error)
            error = TaskError(
                code=known.code, message=known.message, hint=known.hint, retryable=task.error.retryable
            )
        return cls(
            task_id=task.task_id,
            status=task.state,
            progress=task.progress,
            name=task.name,
            frames=task.frames,
            frames_total=task.total,
            created=task.created,
            started=task.started,
            ended=task.ended,
            result_url=result_url if task.state == "completed" else None,
            stream_url=stream_url,
            error=error,
        )


class Health(BaseModel):
    """That the server answers, and what it has to do."""

    model_config = ConfigDict(frozen=True)

    status: Literal["ok"] = "ok"
    tasks: dict[str, int] = Field(description="By state.")
