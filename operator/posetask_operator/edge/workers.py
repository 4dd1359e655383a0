"""Workers that take keys from the queue, one at a time each, and say that they are alive."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from posetask.errors import PoseTaskError
from posetask_operator.edge.faults import LeaseLost
from posetask_operator.edge.workqueue import WorkQueue

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
IDLE_SECONDS = 5.0

Done = Callable[[str, float], None]
"""Told how a look ended (success, requeue_after, error) and how long it took, in seconds."""


class Workers(Generic[K]):
    """Works on the queue's keys until cancelled.

    Args:
        queue: Where keys wait.
        handle: Works on one; returns the seconds after which to look again, or None.
        count: Keys worked on at the same time.
        on_done: See :data:`Done`.
        limit: Seconds after which a look is given up, so that no call can hold a worker for ever.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        handle: Callable[[K], Awaitable[float | None]],
        *,
        count: int = 8,
        on_done: Done = lambda *_: None,
        limit: float = 300.0,
    ) -> None:
        self._queue, self._handle, self._count = queue, handle, count
        self._on_done, self._limit = on_done, limit
        self._beats: dict[int, float] = {}
        self._started: dict[int, float] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def active(self) -> int:
        """How many work now."""
        return len(self._started)

    def oldest_beat(self) -> float:
        """Seconds since the worker that is silent longest was heard; 0 where none runs."""
        return time.monotonic() - min(self._beats.values()) if self._beats else 0.0

    def longest(self) -> float:
        """Seconds of the longest look that is going on."""
        return time.monotonic() - min(self._started.values()) if self._started else 0.0

    def unfinished(self) -> float:
        """Seconds of all looks that are going on."""
        now = time.monotonic()
        return sum(now - started for started in self._started.values())

    def beat(self) -> None:
        """Called by ``handle`` between two calls of a long look."""
        task = asyncio.current_task()
        if task is not None and id(task) in self._beats:
            self._beats[id(task)] = time.monotonic()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LeaseLost: This replica may not work any more.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        me = id(asyncio.current_task())
        try:
            while True:
                self._beats[me] = time.monotonic()
                key = await self._queue.get(IDLE_SECONDS)
                if key is not None:
                    self._beats[me] = self._started[me] = time.monotonic()
                    try:
                        await self._one(key)
                    finally:
                        self._started.pop(me, None)
                        self._queue.done(key)
        finally:
            self._beats.pop(me, None)

    async def _one(self, key: K) -> None:
        started, result = time.monotonic(), "success"
        try:
            async with asyncio.timeout(self._limit):
                again = await self._handle(key)
            self._queue.forget(key)
            if again is not None:
                result = "requeue_after"
                self._queue.add_after(key, again)
        except LeaseLost:
            raise
        except (PoseTaskError, TimeoutError) as error:
            result = "error"
            seconds = self._queue.failed(key)
            logger.warning("look failed, again in %.1f s: %s", seconds, str(error) or "too long")
        except Exception:
            result = "error"  # a defect of ours must stop neither the worker nor the other tasks
            seconds = self._queue.failed(key)
            logger.exception("look failed by a defect, again in %.1f s", seconds)
        self._on_done(result, time.monotonic() - started)
