"""The home on a cluster: an upload becomes an object and a PoseTask, and both say all that is known."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from posetask.errors import InvalidParameters, UnknownTask
from posetask.runtime.reports import Failure
from posetask.spec import API_VERSION, KIND
from posetask.spec.task import PoseTask
from posetask.storage.location import Location
from posetask.storage.s3 import S3
from posetask_api.backend import Upload
from posetask_api.errors import ResultNotReady, TaskFailed
from posetask_api.kubernetes.client import PoseTasks
from posetask_api.kubernetes.outline import outline
from posetask_api.kubernetes.upload import StoredUpload
from posetask_api.local.probe import look
from posetask_api.model import Link, LocalFile, State, StoredObject, Task

logger = logging.getLogger(__name__)

NAME_ANNOTATION = "posetask.io/display-name"
REQUEST_ANNOTATION = "posetask.io/request-id"
FRAMES_ANNOTATION = "posetask.io/declared-frames"
_MADE_BY = {"app.kubernetes.io/created-by": "posetask-api"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_STREAM = re.compile(r"stream\.m3u8|init\.mp4|segment_\d{5,9}\.m4s")
_COUNT_SECONDS = 10.0
_ENDED: dict[str, State] = {"True": "completed", "False": "failed"}


class KubernetesBackend:
    """See :class:`posetask_api.backend.TaskBackend`.

    Args:
        tasks: PoseTasks of the namespace.
        store: Where uploads go and results are.
        root: ``s3://…``; uploads go to ``ROOT/NAMESPACE/uploads/``, results are in ``ROOT/NAMESPACE/RUN/``.
        namespace: Of all tasks.
        spec: Of every task, but for its source: models, formats, profile.
        link_seconds: Send clients to the store for the result, with an address that works so long; None reads
            it for them, where they do not reach the store.

    Raises:
        InvalidParameters: ``root`` or ``spec`` cannot be used.
    """

    def __init__(
        self,
        tasks: PoseTasks,
        store: S3,
        root: str,
        namespace: str,
        spec: dict[str, Any] | None = None,
        link_seconds: int | None = None,
    ) -> None:
        self._link_seconds = link_seconds
        self._base = f"{root.rstrip('/')}/{namespace}"
        if Location.parse(f"{self._base}/x").scheme != "s3":
            raise InvalidParameters(f"uploads go to no {root}", hint="set POSETASK_API_ROOT to s3://BUCKET/…")
        self._tasks, self._store, self._namespace = tasks, store, namespace
        self._spec = spec or {}
        if "source" in self._spec:
            raise InvalidParameters("POSETASK_API_SPEC has a source", hint="leave it away: it is the upload")
        PoseTask.read(self._body("task-0", "s3://bucket/video", "video", "", None))
        self._counted: tuple[float, dict[str, int]] = (-_COUNT_SECONDS, {})

    async def start(self) -> None:
        """Nothing is to be done: the operator goes on by itself."""

    async def close(self) -> None:
        """Close the connections."""
        await self._tasks.close()
        self._store.close()

    async def begin(self, name: str) -> StoredUpload:
        """An object in the making."""
        task_id = f"task-{secrets.token_hex(8)}"
        at = Location.parse(f"{self._base}/uploads/{task_id}/{name}")
        return StoredUpload(self._store, at, name, task_id)

    async def submit(self, upload: Upload, request_id: str) -> Task:
        """Look at it through the store, and make the PoseTask."""
        if not isinstance(upload, StoredUpload):
            raise TypeError(f"{type(upload).__name__} is no upload of this backend")
        await upload.finish()
        frames = await self._look(upload)
        body = self._body(upload.task_id, upload.at.text, upload.name, request_id, frames)
        made = await self._tasks.create(body)
        logger.info("task %s: %s, %s bytes, request %s", upload.task_id, upload.name, upload.size, request_id)
        return _task(PoseTask.read(made))

    async def find(self, task_id: str) -> Task:
        """From the PoseTask."""
        return _task(await self._get(task_id))

    async def result(self, task_id: str) -> LocalFile | Link | StoredObject:
        """Where status.result says."""
        found = await self._get(task_id)
        task = _task(found)
        if task.state == "failed":
            why = task.error.message if task.error is not None else "it failed"
            raise TaskFailed(f"task {task_id} has no result: {why}")
        result = found.status.result
        if result is None or task.state != "completed":
            raise ResultNotReady(
                f"task {task_id} is {task.state} ({task.progress})",
                hint=f"GET /status/{task_id} says how far",
            )
        stored = await self._object(task_id, result.uri, f"{Path(task.name).stem}-posetask.mp4")
        if self._link_seconds is not None:
            return Link(self._store.link(stored.at, self._link_seconds))
        return stored

    async def stream_file(self, task_id: str, name: str) -> LocalFile | Link | StoredObject:
        """Beside the result, where the annotator brings every segment that is complete."""
        found = await self._get(task_id)
        if not _STREAM.fullmatch(name) or not found.status.run:
            raise ResultNotReady(f"task {task_id} has no {name[:80]} (yet)", hint="ask again")
        uri = f"{self._base}/{found.status.run}/{task_id}.hls/{name}"
        return await self._object(task_id, uri, name)

    async def counts(self) -> dict[str, int]:
        """Of all PoseTasks of the namespace; asked of the API server every few seconds at most."""
        at, known = self._counted
        if time.monotonic() - at < _COUNT_SECONDS:
            return known
        out = {"queued": 0, "running": 0, "completed": 0, "failed": 0}
        for found in await self._tasks.all():
            out[_task(PoseTask.read(found)).state] += 1
        self._counted = (time.monotonic(), out)
        return out

    async def _get(self, task_id: str) -> PoseTask:
        if not _NAME.fullmatch(task_id):
            raise UnknownTask(f"there is no task {task_id[:80]!r}", hint="POST /upload made an id; check it")
        return PoseTask.read(await self._tasks.get(task_id))

    async def _object(self, task_id: str, uri: str, name: str) -> StoredObject:
        at = Location.parse(uri)
        stat = await asyncio.to_thread(self._store.stat, at)
        if stat is None:
            raise ResultNotReady(
                f"task {task_id} has no {name} (yet)", hint=f"GET /status/{task_id} says how far"
            )
        return StoredObject(at, stat.size, stat.etag, name, self._store)

    async def _look(self, upload: StoredUpload) -> int | None:
        with tempfile.TemporaryDirectory(prefix="posetask-look-") as folder:
            path = Path(folder) / upload.name
            await asyncio.to_thread(outline, self._store, upload.at, upload.size, path)
            return await look(path)

    def _body(self, task_id: str, uri: str, name: str, request_id: str, frames: int | None) -> dict[str, Any]:
        notes = {NAME_ANNOTATION: name, REQUEST_ANNOTATION: request_id}
        if frames is not None:
            notes[FRAMES_ANNOTATION] = str(frames)
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": task_id,
                "namespace": self._namespace,
                "labels": _MADE_BY,
                "annotations": notes,
            },
            "spec": {**self._spec, "source": {"uri": uri}},
        }


def _task(found: PoseTask) -> Task:
    status, notes = found.status, found.metadata.annotations
    end, progress = status.terminal, status.progress
    state: State = "running" if status.start_time is not None else "queued"
    error = None
    if end is not None:
        state = _ENDED[end.status]
        if state == "failed":
            error = Failure(reason=end.reason, message=end.message)
    declared = notes.get(FRAMES_ANNOTATION, "")
    total = progress.frames_total if progress is not None else None
    return Task(
        task_id=found.metadata.name,
        name=notes.get(NAME_ANNOTATION, found.metadata.name),
        state=state,
        created=_time(found.metadata.creation_timestamp) or datetime.now(UTC),
        started=_time(status.start_time),
        ended=_time(status.completion_time),
        frames=progress.frames_annotated if progress is not None else 0,
        total=total if total is not None else (int(declared) if declared.isdigit() else None),
        request_id=notes.get(REQUEST_ANNOTATION, ""),
        error=error,
    )


def _time(value: datetime | str | None) -> datetime | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return value
