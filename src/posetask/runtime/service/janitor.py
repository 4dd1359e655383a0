"""What a run leaves on the brokers and beside its output goes some time after its end."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from posetask.errors import PoseTaskError
from posetask.runtime.ownership import release
from posetask.runtime.service.task import ServedTask
from posetask.runtime.service.topics import remove_run
from posetask.stages.base import Stage
from posetask.transport.kafka.settings import KafkaSettings

logger = logging.getLogger(__name__)

RETRY_SECONDS = 15.0


class Janitor:
    """Takes away the topics of runs that have ended, on a thread of its own: brokers may be slow, or away.

    Only the service of a stage without output does it: that is the end of a run.

    Args:
        kafka: How to reach the brokers.
        stage: Of the service.
    """

    def __init__(self, kafka: KafkaSettings, stage: type[Stage[Any]]) -> None:
        self._kafka, self._is_last = kafka, stage.output is None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="janitor")
        self._removals: dict[str, Future[list[str]]] = {}
        self._not_before: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def done_with(self, task: ServedTask) -> bool:
        """Do what is due; whether nothing is left to do for a task that has ended. Never waits."""
        record, now = task.record, time.time()
        if record.status == "active" or task.alive:
            return False
        delay = record.request.topics_after_seconds
        if not self._is_last or delay is None or record.topics_removed:
            return True
        due = max((record.ended_at or now) + delay, self._not_before.get(task.task_id, 0.0))
        removal = self._removals.get(task.task_id)
        if removal is None and now >= due:
            self._removals[task.task_id] = self._thread.submit(remove_run, self._kafka, task.task_id)
        elif removal is not None and removal.done():
            del self._removals[task.task_id]
            self._see(task, removal)
        return task.record.topics_removed

    def _see(self, task: ServedTask, removal: Future[list[str]]) -> None:
        try:
            removal.result()
            if task.record.spec.output is not None:
                release(task.record.spec.output, task.task_id)
        except PoseTaskError as error:
            logger.warning("run %s: what it left stays for now: %s", task.task_id, error)
            self._not_before[task.task_id] = time.time() + RETRY_SECONDS
            return
        task.mark_topics_removed()
        self._not_before.pop(task.task_id, None)
