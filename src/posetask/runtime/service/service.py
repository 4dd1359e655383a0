"""A stage that stays: loads its model once, works many tasks, and finds them again after it died."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Any

from posetask.errors import InvalidParameters, PoseTaskError, TaskConflict, Unavailable, UnknownTask
from posetask.exports.metadata import tool_version
from posetask.models.shared import keep_unused
from posetask.runtime.reports import StageReport
from posetask.runtime.service.contract import (
    ENDS,
    FIELDS,
    Health,
    ServiceInfo,
    StartRequest,
    TaskList,
    TaskStatus,
)
from posetask.runtime.service.janitor import Janitor
from posetask.runtime.service.paths import confine
from posetask.runtime.service.settings import ServiceSettings
from posetask.runtime.service.state import StateFolder, TaskRecord
from posetask.runtime.service.task import ServedTask
from posetask.runtime.service.topics import brokers_answer, make_topics
from posetask.runtime.service.totals import Totals
from posetask.runtime.stagefactory import find_stage
from posetask.runtime.stagespec import StageProcessSpec
from posetask.runtime.work import StageWork
from posetask.stages.base import Source, StageContext, parse_parameters
from posetask.stages.names import ANNOTATOR, PRODUCER
from posetask.telemetry import available_cores
from posetask.telemetry.metrics import StageMetrics, StageSample
from posetask.transport.kafka.progress import ProgressWriter
from posetask.transport.kafka.settings import KafkaSettings

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.2
FORGET_SECONDS = 7 * 24 * 3600
"""After its end a task is known for so long."""
_PROGRESS_SECONDS = 0.5
_HEALTH_SECONDS = 5.0
_MODELS_KEPT = 2


class StageService:
    """All tasks of one service process.

    Args:
        settings: Of the service.
        kafka: How to reach the brokers.

    Raises:
        PoseTaskError: There is no such stage, its model does not load, or the state folder is another's.
    """

    def __init__(self, settings: ServiceSettings, kafka: KafkaSettings) -> None:
        self.settings, self._kafka = settings, kafka
        self.stage = find_stage(settings.stage)
        self._cores = settings.cores or available_cores()
        self._model: dict[str, Any] = {}
        version = tool_version().removeprefix("posetask ")
        self.metrics = StageMetrics(settings.stage, version, self._sample)
        self._tasks: dict[str, ServedTask] = {}
        self._lock = threading.RLock()
        self._starting = threading.Lock()  # one start at a time: they wait for the broker
        self._leaving = threading.Event()
        self._ready = False
        self._began = time.monotonic()
        self._totals = Totals()
        self._said: dict[str, tuple[object, ...]] = {}
        self._reaching = threading.Lock()
        self._reach: tuple[float, bool] = (float("-inf"), False)
        self._folder = StateFolder(settings.state)
        try:
            self._warm_up()
        except BaseException:
            self._folder.close(clean=not self._folder.unclean)
            raise
        for record in self._folder.load():
            self._tasks[record.task_id] = self._served(record, fresh=False)
        waiting = [task.task_id for task in self._tasks.values() if task.status == "queued"]
        if waiting:
            how = "one at a time, for the process before this one died" if self._folder.unclean else "at once"
            logger.info("resuming %s, %s", ", ".join(waiting), how)

    @property
    def ready(self) -> bool:
        """Its model is loaded, and its loop runs."""
        return self._ready and not self._leaving.is_set()

    def run(self, url: str) -> None:
        """Serve until :meth:`leave`; then every task is left to the next process.

        Args:
            url: Where it listens.
        """
        self._folder.say_address(url)
        progress = ProgressWriter(self._kafka)
        told = 0.0
        with Janitor(self._kafka, self.stage) as janitor:
            self._ready = True
            while not self._leaving.wait(TURN_SECONDS):
                self._turn(janitor)
                if time.monotonic() - told > _PROGRESS_SECONDS:
                    told = time.monotonic()
                    self._tell(progress)
            tasks = list(self._tasks.values())
            for task in tasks:
                task.leave()
            deadline = time.monotonic() + self.settings.grace_seconds
            for task in tasks:
                task.join(max(0.0, deadline - time.monotonic()))
                task.tend()
            self._tell(progress)
        progress.close(2.0)
        keep_unused(0)
        self._folder.close(clean=not any(task.alive for task in tasks))

    def leave(self) -> None:
        """End soon, in good order. From any thread or signal handler."""
        self._leaving.set()

    def start(self, request: StartRequest) -> tuple[TaskStatus, bool]:
        """Begin a task, or go on with one: a bare id resumes what was stopped or has failed.

        Returns:
            How far it is, and whether anything was started.

        Raises:
            InvalidParameters: A field is bad.
            TaskConflict: The id belongs to a task that was started with other words, or it cannot go on.
            Unavailable: The brokers are away, or too many tasks are at work.
        """
        with self._starting:
            if self._leaving.is_set():
                raise Unavailable("the service is leaving", hint="ask again when it is back")
            known = self._tasks.get(request.task_id)
            if known is not None:
                return self._again(known, request)
            spec = self._spec(request)
            self._room()
            make_topics(self._kafka, self.stage, request)
            record = TaskRecord(request=request, spec=spec, created_at=time.time())
            self._folder.save(record)
            task = self._served(record, fresh=True)
            with self._lock:
                self._tasks[request.task_id] = task
            if not self._recovering():
                task.start()
            logger.info("task %s: started", request.task_id)
            return task.look(), True

    def status(self, task_id: str) -> TaskStatus:
        """How far a task is.

        Raises:
            UnknownTask: There is none of this id.
        """
        return self._task(task_id).look()

    def tasks(self) -> TaskList:
        """All that are known."""
        with self._lock:
            found = list(self._tasks.values())
        return TaskList(service=self.stage.name, tasks=[task.look() for task in found])

    def stop(self, task_id: str) -> TaskStatus:
        """Stop a task here; what is under way is finished and committed.

        Raises:
            UnknownTask: There is none of this id.
        """
        task = self._task(task_id)
        task.stop()
        return task.look()

    def complete(self, task_id: str) -> TaskStatus:
        """End a task's stream early, in order.

        Raises:
            UnknownTask: There is none of this id.
            TaskConflict: This stage does not make the stream, or the task does not run.
        """
        task = self._task(task_id)
        task.complete()
        return task.look()

    def stop_all(self) -> TaskList:
        """Stop every task, and forget each when nothing of it is left to do."""
        with self._lock:
            found = list(self._tasks.values())
        for task in found:
            task.forget()
        return TaskList(service=self.stage.name, tasks=[task.look() for task in found])

    def info(self) -> ServiceInfo:
        """What this is."""
        stage = self.stage
        return ServiceInfo(
            name=stage.name,
            description=stage.description,
            implementation=f"{stage.__module__}.{stage.__qualname__}",
            version=tool_version().removeprefix("posetask "),
            port=stage.port,
            inputs=[f"{topic}_{{task_id}}" for topic in stage.inputs],
            output=f"{stage.output}_{{task_id}}" if stage.output else None,
            parameters=stage.Parameters.model_json_schema(),
            defaults=self.settings.parameters,
            fields=list(FIELDS),
            model=self._model,
        )

    def health(self) -> Health:
        """Whether it works; asks the brokers at most every few seconds."""
        if time.monotonic() - self._reach[0] > _HEALTH_SECONDS and self._reaching.acquire(blocking=False):
            try:  # one asks; the others, of whom there may be many, hear what was known before
                self._reach = (time.monotonic(), brokers_answer(self._kafka))
            finally:
                self._reaching.release()
        reached = self._reach[1]
        return Health(
            service=self.stage.name,
            status="ok" if reached else "degraded",
            kafka="reachable" if reached else "away",
            uptime_seconds=round(time.monotonic() - self._began, 1),
            tasks=self._counts(),
        )

    def reports(self) -> list[StageReport]:
        """Of every task that was worked on, as ``posetask stage`` gives its one."""
        with self._lock:
            found = list(self._tasks.values())
        return [report for task in found if (report := task.last_report()) is not None]

    def _again(self, task: ServedTask, request: StartRequest) -> tuple[TaskStatus, bool]:
        mine = task.record.request.model_dump(mode="json")
        if not request.bare and request.model_dump(mode="json") != mine:
            raise TaskConflict(
                f"task {request.task_id} was started here with other words",
                hint="its id alone resumes it as it was; another task needs another id",
            )
        if task.status in ("stopped", "failed", "stopping"):
            self._room()
            task.resume()
            if not self._recovering():
                task.start()
            logger.info("task %s: resumed", request.task_id)
            return task.look(), True
        return task.look(), False

    def _room(self) -> None:
        busy = sum(task.status not in ENDS for task in self._tasks.values())
        if busy >= self.settings.most_tasks:
            raise Unavailable(
                f"{self.stage.name} has {busy} tasks at work, and {self.settings.most_tasks} is the most",
                hint="ask again later, or start another service",
            )

    def _spec(self, request: StartRequest) -> StageProcessSpec:
        spec = request.spec(
            self.stage.name,
            parameters=self.settings.parameters,
            device=self.settings.device,
            cores=self._cores,
            grace_seconds=self.settings.grace_seconds,
        )
        parse_parameters(self.stage, spec.parameters)
        for name, needed in (("source", (PRODUCER, ANNOTATOR)), ("output", (ANNOTATOR,))):
            if self.stage.name in needed and getattr(spec, name) is None:
                raise InvalidParameters(
                    f"a task of {self.stage.name} needs {name}", hint=f'{{"task_id": …, "{name}": …}}'
                )
        if self.settings.files is not None:
            confine(spec, self.settings.files)
        return spec

    def _served(self, record: TaskRecord, *, fresh: bool) -> ServedTask:
        makes_stream = issubclass(self.stage, Source)
        return ServedTask(
            record,
            self._make_work,
            self._folder.save,
            makes_stream=makes_stream,
            fresh=fresh,
            retire=self._totals.retire,
        )

    def _make_work(self, record: TaskRecord) -> StageWork:
        return StageWork(record.spec, self._kafka, on_step=self.metrics.step, on_batch=self._on_batch)

    def _on_batch(self, frames: int) -> None:
        self.metrics.batch(frames)
        self._totals.add_frames(frames)

    def _warm_up(self) -> None:
        """Load the model that tasks will use unless they say otherwise, and keep it."""
        keep_unused(_MODELS_KEPT)
        if self.stage.name in (PRODUCER, ANNOTATOR):
            return  # these are made for a source
        defaults = self.settings.parameters
        try:
            parameters = parse_parameters(self.stage, defaults)
        except InvalidParameters:
            if defaults:
                raise
            return  # every task must say something of its own
        stage = self.stage(parameters, StageContext("warm-up", self.settings.device, self._cores))
        try:
            stage.open()
            self._model = dict(stage.facts().get("model", {}))
        finally:
            stage.close()

    def _task(self, task_id: str) -> ServedTask:
        with self._lock:
            task = self._tasks.get(task_id)
        if task is None:
            raise UnknownTask(
                f"{self.stage.name} knows no task {task_id[:80]}", hint="GET /services lists those it knows"
            )
        return task

    def _recovering(self) -> bool:
        """One of the tasks may have killed the process before this one; which is not known yet."""
        return self._folder.unclean and not all(
            task.settled for task in self._tasks.values() if task.status not in ENDS
        )

    def _turn(self, janitor: Janitor) -> None:
        with self._lock:
            tasks = list(self._tasks.values())
        queued = [task for task in tasks if task.status == "queued"]
        if queued:
            # Who dies of a poison frame takes all with it. One after the other, the guilty one is alone
            # when it dies again, and only its frames are counted as suspect.
            unsettled = any(not t.settled for t in tasks if t.status not in (*ENDS, "queued"))
            for task in queued[: (0 if unsettled else 1) if self._folder.unclean else None]:
                task.start()
        elif self._folder.unclean and not self._recovering():
            self._folder.unclean = False
        for task in tasks:
            try:
                task.tend()
            except PoseTaskError as error:  # the folder cannot be written for now; the next turn tries again
                logger.warning("task %s: %s", task.task_id, error)
            if issubclass(self.stage, Source):  # the others count what they work in batches
                self._totals.add_frames(task.take_frames())
            old = time.time() - (task.record.ended_at or time.time()) > FORGET_SECONDS
            if janitor.done_with(task) and (task.record.forget or old):
                self._folder.drop(task.task_id)
                with self._lock:
                    self._tasks.pop(task.task_id, None)

    def _tell(self, progress: ProgressWriter) -> None:
        for report in self.reports():
            words = (report.instance, report.state, report.frames)
            removed = (found := self._tasks.get(report.run)) is not None and found.record.topics_removed
            if self._said.get(report.run) != words and not removed:
                self._said[report.run] = words
                progress.write(report.run, report.key, report.model_dump_json().encode())

    def _counts(self) -> dict[str, int]:
        with self._lock:
            return dict(Counter(task.status for task in self._tasks.values()))

    def _sample(self) -> StageSample:
        with self._lock:
            works = [task.work for task in self._tasks.values() if task.work is not None]
        return self._totals.sample(works, ready=self.ready, model=self._model, tasks=self._counts())
