"""The one work queue: a task is in it once, worked on by one at a time, and comes back later when asked to.

The semantics are those of client-go's workqueue: a key that is added while it is being worked on is worked
on once more afterwards; failures come back after a growing, jittered pause.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses after failures.

    >>> pauses = BackOff(first=1.0, most=8.0, jitter=0.0)
    >>> [pauses.seconds(n) for n in (1, 2, 3, 9)]
    [1.0, 2.0, 4.0, 8.0]
    """

    first: float = 0.5
    most: float = 60.0
    jitter: float = 0.3

    def seconds(self, failures: int) -> float:
        """Pause after so many failures in a row."""
        pause = min(self.most, self.first * 2.0 ** min(failures - 1, 30))
        return pause * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - jitter, no secret


class WorkQueue(Generic[K]):
    """Keys that wait to be worked on; for one event loop.

    Args:
        back_off: After failures.
        clock: Monotonic seconds.
        on_wait: Told how long a key waited from when it was due.
    """

    def __init__(
        self,
        back_off: BackOff | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._back_off, self._clock, self._on_wait = back_off or BackOff(), clock, on_wait
        self._ready: dict[K, float] = {}  # in order of arrival -> since when
        self._working: set[K] = set()
        self._again: dict[K, float] = {}  # added while worked on
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self.adds = 0
        self.retries = 0

    def __len__(self) -> int:
        """Keys that could be worked on now."""
        return len(self._ready)

    @property
    def delayed(self) -> int:
        """Keys that come later."""
        return len(self._due)

    def add(self, key: K) -> None:
        """Work on it soon; one that waits already stays where it is."""
        self.adds += 1
        self._due.pop(key, None)
        if key in self._working:
            self._again.setdefault(key, self._clock())
        elif key not in self._ready:
            self._ready[key] = self._clock()
            self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Work on it in so many seconds, or sooner where that was asked for."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        if key in self._ready or due >= self._due.get(key, float("inf")):
            return
        self._count += 1
        self._due[key] = due
        heapq.heappush(self._heap, (due, self._count, key))
        self._changed.set()

    def failed(self, key: K) -> float:
        """Work on it again after the back-off; returns the seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self.retries += 1
        seconds = self._back_off.seconds(self._failures[key])
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """It went well: the next failure is the first again."""
        self._failures.pop(key, None)

    async def get(self, seconds: float) -> K | None:
        """The next key, which is being worked on from now until :meth:`done`; None after ``seconds``."""
        end = self._clock() + seconds
        while True:
            self._ripen()
            if self._ready:
                key = next(iter(self._ready))
                self._on_wait(self._clock() - self._ready.pop(key))
                self._working.add(key)
                self._due.pop(key, None)  # this look says anew when the next one is due
                return key
            wait = min(end, self._heap[0][0] if self._heap else end) - self._clock()
            if end <= self._clock():
                return None
            self._changed.clear()
            try:
                # Not wait_for: in Python 3.11 it forgets a cancellation that meets the end of its wait.
                async with asyncio.timeout(max(0.0, wait)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Nobody works on it any more; one that was added meanwhile waits again."""
        self._working.discard(key)
        since = self._again.pop(key, None)
        if since is not None:
            self._due.pop(key, None)
            self._ready[key] = since
            self._changed.set()

    def _ripen(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:  # else it was asked for sooner, or worked on since
                del self._due[key]
                if key in self._working:
                    self._again.setdefault(key, due)
                else:
                    self._ready.setdefault(key, due)
