"""One task in a service: its work on a thread, tried again where that helps, written down at every turn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from posetask.errors import NoFrames, PoseTaskError, TaskConflict
from posetask.runtime.reports import Failure, StageReport
from posetask.runtime.runner import CAREFUL_FRAMES
from posetask.runtime.service.contract import Status, TaskStatus
from posetask.runtime.service.state import TaskRecord
from posetask.runtime.work import StageWork

logger = logging.getLogger(__name__)

MOST_TRIES = 6
"""In a row, without one frame more."""
LONGEST_BACKOFF_SECONDS = 30.0
SETTLING_SECONDS = 10.0
"""A task that was resumed, is ready and has nothing to do for so long is not what killed the process."""
_FIRST_LOOK_SECONDS = 0.5

Save = Callable[[TaskRecord], None]
MakeWork = Callable[[TaskRecord], StageWork]


class ServedTask:
    """A task and what it comes to. The service's loop calls :meth:`tend`; callers the rest, on any thread.

    Args:
        record: As it stands in the state folder.
        make_work: Makes the work; a new one for every try.
        save: Writes a record down.
        makes_stream: The stage is a source of frames: it can end the stream.
        fresh: It was never worked on.
        retire: Told every work that has ended, for the totals.
    """

    def __init__(
        self,
        record: TaskRecord,
        make_work: MakeWork,
        save: Save,
        *,
        makes_stream: bool,
        fresh: bool,
        retire: Callable[[StageWork], None] = lambda work: None,
    ) -> None:
        self.record, self._makes_stream, self._retire = record, makes_stream, retire
        self._make_work, self._save = make_work, save
        self._lock = threading.RLock()
        self._work: StageWork | None = None
        self._thread: threading.Thread | None = None
        self._queued, self._leaving = True, False
        self._tries, self._try_at = 0, 0.0
        self._frames = self._seen = 0
        self._base = (
            0 if fresh else None
        )  # frames that were done before this try; seen soon after it is ready
        self._counted = 0
        self._moved_at = self._ready_at = 0.0
        self._verdict: PoseTaskError | None = None

    @property
    def task_id(self) -> str:
        """Id of the run."""
        return self.record.task_id

    @property
    def alive(self) -> bool:
        """It is worked on, or what came of that is not written down yet."""
        return self._work is not None

    @property
    def work(self) -> StageWork | None:
        """The work at hand."""
        return self._work

    @property
    def status(self) -> Status:
        """See :data:`posetask.runtime.service.contract.Status`."""
        with self._lock:
            if self.record.status != "active":
                return "stopping" if self._work else self.record.status
            if self._queued:
                return "queued"
            if self._work is None:
                return "waiting"
            return "running" if self._work.ready else "starting"

    @property
    def settled(self) -> bool:
        """It is over the place where it, or another, may have killed the process before this one."""
        if self.record.status != "active":
            return not self.alive
        if self._queued or self._base is None or not self._ready_at:
            return False
        waited = time.monotonic() - self._ready_at
        return self._frames - self._base >= CAREFUL_FRAMES or waited > SETTLING_SECONDS

    def look(self) -> TaskStatus:
        """How far it is."""
        with self._lock:
            record, status = self.record, self.status
            report = self._work.look() if self._work else record.report
            earlier = record.report.frames if record.report else 0
            return TaskStatus(
                task_id=record.task_id,
                service=record.spec.stage,
                status=status,
                frames=max(report.frames, earlier) if report else 0,
                quarantined=report.quarantined if report else 0,
                tries=max(1, self._tries),
                lag=report.lag if report and status not in ("completed", "stopped", "failed") else {},
                facts=report.facts if report else {},
                busy=report.busy if report else {},
                created_at=record.created_at,
                ended_at=record.ended_at,
                topics_removed=record.topics_removed,
                error=record.error,
            )

    def last_report(self) -> StageReport | None:
        """As it goes to the progress topic."""
        with self._lock:
            return self._work.look() if self._work else self.record.report

    def start(self) -> None:
        """Let it run: for the first time, or after it waited for its turn."""
        with self._lock:
            if self._queued:
                self._queued = False
                self._begin()

    def resume(self) -> None:
        """Work on a task that was stopped or has failed.

        Raises:
            TaskConflict: Its topics are gone, or it is still stopping.
        """
        with self._lock:
            if self.alive:
                raise TaskConflict(f"task {self.task_id} is still stopping", hint="ask again in a moment")
            if self.record.topics_removed:
                raise TaskConflict(
                    f"the topics of task {self.task_id} are removed", hint="start it under a new id"
                )
            self._write(status="active", ended_at=None, error=None)
            self._tries, self._queued, self._verdict = 0, True, None

    def stop(self) -> None:
        """Leave it where it is; :meth:`resume` goes on from there."""
        with self._lock:
            if self.record.status == "active":
                self._end("stopped")
                if self._work:
                    self._work.stop()

    def complete(self) -> None:
        """End the stream in order, soon.

        Raises:
            TaskConflict: This is no source of frames, or it does not run.
        """
        with self._lock:
            stage = self.record.spec.stage
            if self.record.status == "completed":
                return
            if self.record.status != "active":
                raise TaskConflict(f"task {self.task_id} is {self.record.status}", hint="resume it first")
            if not self._makes_stream:
                raise TaskConflict(
                    f"{stage} does not make the stream of task {self.task_id}, so it cannot end it",
                    hint="ask the producer: its end of the stream completes the task everywhere",
                )
            self._write(completing=True)
            if self._work:
                self._work.finish_early()

    def forget(self) -> None:
        """Off the list once it has ended and nothing of it is left to do."""
        with self._lock:
            self.stop()
            self._write(forget=True)

    def leave(self) -> None:
        """The service ends: stop the work, and leave the task to the next process."""
        with self._lock:
            self._leaving = True
            if self._work:
                self._work.stop()

    def join(self, seconds: float) -> None:
        """Wait for its thread; one that outlives its time is told to drop everything."""
        thread, work = self._thread, self._work
        if thread is not None and work is not None:
            thread.join(seconds)
            if thread.is_alive():
                work.cancel()
                thread.join(5.0)

    def mark_topics_removed(self) -> None:
        """They are gone; the task cannot be resumed."""
        with self._lock:
            self._write(topics_removed=True)

    def take_frames(self) -> int:
        """Frames done since this was last asked."""
        with self._lock:
            done = max(self._counted, self._frames - self._base) if self._base is not None else self._counted
            grown, self._counted = done - self._counted, done
            return grown

    def tend(self) -> None:
        """One turn: see what the work came to, and what is due."""
        with self._lock:
            if self._work is None:
                wanted = self.record.status == "active" and not (self._queued or self._leaving)
                if wanted and time.monotonic() >= self._try_at:
                    self._begin()
            elif self._thread is not None and self._thread.is_alive():
                self._watch(self._work)
            else:
                self._reap(self._work)

    def _begin(self) -> None:
        self._work = work = self._make_work(self.record)
        if self._tries or self._frames:
            self._base, self._counted = None, 0
        self._seen, self._moved_at, self._ready_at = 0, time.monotonic(), 0.0
        self._tries += 1
        if self.record.completing:
            work.finish_early()
        self._thread = threading.Thread(target=_run, args=(work,), name=self.task_id, daemon=True)
        self._thread.start()

    def _watch(self, work: StageWork) -> None:
        frames, now = work.look().frames, time.monotonic()
        if work.ready and not self._ready_at:
            self._ready_at = self._moved_at = now
        if self._base is None and self._ready_at and now - self._ready_at > _FIRST_LOOK_SECONDS:
            self._base = frames
        if frames != self._seen:
            self._seen, self._moved_at = frames, now
        if frames > self._frames:
            self._frames, self._tries = frames, 1
        limit = self.record.request.no_frames_seconds
        if limit and self._ready_at and now - self._moved_at > limit and self.record.status == "active":
            self._verdict = NoFrames(
                f"no frame of task {self.task_id} went through {self.record.spec.stage} for {limit:.0f} s",
                hint="see how the stages before it fare; no_frames_seconds is the limit",
            )
            work.cancel()

    def _reap(self, work: StageWork) -> None:
        report = work.look()
        self._frames = max(self._frames, report.frames)
        error = self._verdict or work.error
        if work.state == "done":
            self._end("completed", report=report, error=None)
            logger.info("task %s: completed, %d frames", self.task_id, report.frames)
        elif self.record.status != "active":
            self._write(report=report)
            logger.info("task %s: stopped at frame %d", self.task_id, report.frames)
        elif self._leaving:
            self._write(report=report)
        elif error is not None and (self._tries >= MOST_TRIES or not error.retryable):
            self._end("failed", report=report, error=Failure.of(error))
            logger.error("task %s: failed: %s", self.task_id, error)
        else:
            pause = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (self._tries - 1))
            self._try_at = time.monotonic() + pause
            self._write(report=report, error=Failure.of(error) if error is not None else None)
            logger.warning("task %s: tried again in %.0f s: %s", self.task_id, pause, error)
        self._retire(work)
        self._work = None  # not before all is written down

    def _end(self, status: str, **fields: object) -> None:
        self._write(status=status, ended_at=time.time(), **fields)

    def _write(self, **fields: object) -> None:
        changed = self.record.changed(**fields)
        self._save(changed)
        self.record = changed


def _run(work: StageWork) -> None:
    try:
        work.run()
    except PoseTaskError as error:
        logger.debug("%s: %s", work.spec.run, error)  # the work keeps it, and the service's loop judges it
