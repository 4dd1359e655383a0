"""The home on this machine: uploads on disk, tasks in SQLite, one process at work for each task."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from posetask.errors import PoseTaskError, StageFailed
from posetask.models.store import resolve_detector, resolve_pose
from posetask.runtime.reports import Failure, StageReport
from posetask.stages.names import ANNOTATOR, PRODUCER, RTMPOSE, YOLOX
from posetask.storage.durable import storage_errors
from posetask_api.backend import Upload
from posetask_api.errors import QueueFull, ResultNotReady, TaskFailed
from posetask_api.local.folder import DataFolder
from posetask_api.local.probe import look
from posetask_api.local.store import TaskStore
from posetask_api.local.worker import STOPPED
from posetask_api.model import Link, LocalFile, Task
from posetask_api.settings import LocalSettings

logger = logging.getLogger(__name__)

_LINE_BYTES = 2**20
_GRACE_SECONDS = 20.0
_WRITE_SECONDS = 0.5
_SPEC, _LAST, _LOG = "spec.json", "last-words", "worker.log"


class LocalUpload:
    """A file in the making, in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.path = folder, folder / "source" / name
        with storage_errors(self.path):
            self.path.parent.mkdir(mode=0o700)
            self._file: BinaryIO = self.path.open("xb", buffering=0)

    async def write(self, data: bytes) -> None:
        """The next bytes."""
        await asyncio.to_thread(self._write, data)

    async def finish(self) -> None:
        """Bring all of it onto the disk."""
        await asyncio.to_thread(self._finish)

    async def discard(self) -> None:
        """Forget it."""
        self._file.close()
        await asyncio.to_thread(shutil.rmtree, self.folder, True)

    def _write(self, data: bytes) -> None:
        with storage_errors(self.path):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def _finish(self) -> None:
        with storage_errors(self.path):
            os.fsync(self._file.fileno())
            self._file.close()


class LocalBackend:
    """See :class:`posetask_api.backend.TaskBackend`.

    Args:
        settings: Of this home.

    Raises:
        ModelError: A model is unknown, or not on this machine.
        NotAvailable: Another server works in the folder.
    """

    def __init__(self, settings: LocalSettings) -> None:
        self.settings = settings
        resolve_detector(settings.detector)
        resolve_pose(settings.pose)
        self._folder = DataFolder(settings.data)
        try:
            self._store = TaskStore(self._folder.root / "tasks.db")
            self._folder.sweep(self._store.ids())
        except BaseException:
            self._folder.close()
            raise
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._processes: set[asyncio.subprocess.Process] = set()
        self._closing = False

    async def start(self) -> None:
        """Begin with what an earlier server left."""
        for task in self._store.unfinished():
            logger.info("task %s goes on", task.task_id)
            self._queue.put_nowait(task.task_id)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self.settings.workers)]

    async def close(self) -> None:
        """End the processes; their tasks begin again with the next server."""
        self._closing = True
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._store.close()
        self._folder.close()

    async def begin(self, name: str) -> LocalUpload:
        """A place for an upload."""
        if self._queue.qsize() > self.settings.most_waiting:
            raise QueueFull(
                f"{self._queue.qsize()} tasks wait already", hint="try again when some of them are done"
            )
        return await asyncio.to_thread(lambda: LocalUpload(self._folder.new_upload(), name))

    async def submit(self, upload: Upload, request_id: str) -> Task:
        """Probe, and keep."""
        if not isinstance(upload, LocalUpload):
            raise TypeError(f"{type(upload).__name__} is no upload of this backend")
        await upload.finish()
        total = await look(upload.path)
        name = upload.path.name
        task_id = await asyncio.to_thread(self._folder.adopt, upload.folder)
        task = Task(task_id, name, "queued", datetime.now(UTC), total=total, request_id=request_id)
        await asyncio.to_thread(self._store.add, task)
        self._queue.put_nowait(task_id)
        logger.info("task %s: %s, %s frames declared, request %s", task_id, name, total, request_id)
        return task

    async def find(self, task_id: str) -> Task:
        """From the store."""
        self._folder.task(task_id)  # an id that is none is not looked up
        return await asyncio.to_thread(self._store.get, task_id)

    async def result(self, task_id: str) -> LocalFile | Link:
        """The MP4."""
        task = await self.find(task_id)
        if task.state == "failed":
            why = task.error.message if task.error is not None else "it failed"
            hint = task.error.hint if task.error is not None else ""
            raise TaskFailed(f"task {task_id} has no result: {why}", hint=hint)
        if task.state != "completed":
            raise ResultNotReady(
                f"task {task_id} is {task.state} ({task.progress})",
                hint=f"GET /status/{task_id} says how far",
            )
        return LocalFile(self._folder.result(task_id), f"{Path(task.name).stem}-posetask.mp4")

    async def stream_file(self, task_id: str, name: str) -> LocalFile | Link:
        """A file of the stream."""
        await self.find(task_id)
        path = self._folder.stream(task_id, name)
        if path is None or not path.is_file():
            raise ResultNotReady(
                f"task {task_id} has no {name[:80]} (yet)", hint=f"GET /status/{task_id} says how far"
            )
        return LocalFile(path, name)

    async def counts(self) -> dict[str, int]:
        """From the store."""
        return await asyncio.to_thread(self._store.counts)

    async def _work(self) -> None:
        while True:
            task_id = await self._queue.get()
            try:
                await self._run(task_id)
            except PoseTaskError as error:
                await self._end(task_id, Failure.of(error))
            except Exception as error:
                logger.exception("task %s", task_id)
                failed = StageFailed(f"the server failed: {type(error).__name__}: {error}")
                await self._end(task_id, Failure.of(failed))

    async def _run(self, task_id: str) -> None:
        """Let processes work on a task until one comes to an end that counts."""
        started = (await asyncio.to_thread(self._store.get, task_id)).started or datetime.now(UTC)
        await self._update(task_id, state="running", started=started)
        for attempt in range(1, self.settings.attempts + 1):
            code, said = await self._attempt(task_id)
            if code == 0:
                await self._end(task_id, None)
                return
            if self._closing or code == STOPPED:
                return
            logger.warning("task %s: its process ended with %s (%s)", task_id, code, said)
            if said is not None and not said.retryable:
                await self._end(task_id, said)
                return
            await asyncio.sleep(min(30, 2 ** (attempt - 1)))
        how = f"ended by signal {-code}" if code < 0 else f"ended with {code}"
        died = StageFailed(
            f"its process {how}, {self.settings.attempts} times",
            hint="memory is the usual reason; posetask run shows where it is",
        )
        await self._end(task_id, said or Failure.of(died))

    async def _attempt(self, task_id: str) -> tuple[int, Failure | None]:
        folder = self._folder.task(task_id)
        last = folder / _LAST
        last.unlink(missing_ok=True)
        await asyncio.to_thread((folder / _SPEC).write_text, json.dumps(self._spec(task_id)))
        with (folder / _LOG).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "posetask_api.local.worker", str(folder / _SPEC)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=_LINE_BYTES,
                env={**os.environ, "POSETASK_TERMINATION_LOG": str(last)},
                start_new_session=True,  # Ctrl-C is the server's
            )
        self._processes.add(process)
        try:
            await self._listen(task_id, process)
            code = await process.wait()
        except asyncio.CancelledError:
            await self._see_off(process)
            raise
        finally:
            self._processes.discard(process)
        try:
            said = Failure.model_validate_json(last.read_text())
        except (OSError, ValidationError):
            return code, None
        source = self._folder.source(task_id)
        return code, said.model_copy(update={"message": said.message.replace(str(source), source.name)})

    async def _listen(self, task_id: str, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise RuntimeError("the worker has no standard output")
        said: dict[str, int | None] = {}
        written, clock = 0.0, asyncio.get_running_loop()
        async for line in process.stdout:
            try:
                report = StageReport.model_validate_json(line)
            except ValidationError:
                continue
            if report.stage == PRODUCER and report.state == "done":
                said["total"] = report.frames
            elif report.stage == ANNOTATOR:
                said["frames"] = report.frames
            else:
                continue
            if clock.time() - written >= _WRITE_SECONDS or report.state == "done":
                written = clock.time()
                await self._update(task_id, **said)

    async def _see_off(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _end(self, task_id: str, error: Failure | None) -> None:
        state = "completed" if error is None else "failed"
        await self._update(task_id, state=state, ended=datetime.now(UTC), error=error)
        logger.info("task %s: %s%s", task_id, state, f" ({error.reason}: {error.message})" if error else "")

    async def _update(self, task_id: str, **changes: object) -> None:
        await asyncio.to_thread(lambda: self._store.update(task_id, **changes))

    def _spec(self, task_id: str) -> dict[str, object]:
        s = self.settings
        models = {YOLOX: s.detector, RTMPOSE: s.pose}
        return {
            "run": task_id,
            "source": str(self._folder.source(task_id)),
            "output": str(self._folder.result(task_id)),
            "formats": list(s.formats),
            "device": s.device,
            "parameters": {name: {"model": model} for name, model in models.items() if model is not None},
            "listen": "127.0.0.1:0",
        }
