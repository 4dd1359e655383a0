"""The bus in one process: bounded, back-pressured, and it hands on references, never copies.

A record leaves memory when every group has taken it. There is nothing to resume in a process that
dies whole, so taking is what frees the window here, and ``commit`` has nothing to do; over Kafka it
is the commit that frees.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from posetask.messages import EndOfStream
from posetask.transport.bus import Cancelled, Record, Share


@dataclass(frozen=True, slots=True)
class Window:
    """How far a topic's writer may run ahead of its slowest reader.

    Attributes:
        records: At most so many records are held.
        nbytes: At most so many bytes of pixels are held …
        at_least: … but always so many records, whatever their size: readers that need a look ahead
            (batches, ``--every-n``) would wait for ever below it.
    """

    records: int = 16
    nbytes: int = 256 * 2**20
    at_least: int = 4

    def __post_init__(self) -> None:
        if self.records < 1 or self.at_least < 1 or self.nbytes < 0:
            raise ValueError(f"a window holds at least one record: {self}")

    def has_room(self, records: int, nbytes: int) -> bool:
        """Whether one more record may come when so much is held.

        >>> Window(records=8, nbytes=100, at_least=2).has_room(1, 5_000)
        True
        >>> Window(records=8, nbytes=100, at_least=2).has_room(2, 5_000)
        False
        """
        limit = max(self.records, self.at_least)
        return records < self.at_least or (records < limit and nbytes < self.nbytes)


class _Topic:
    """Records held for the readers still to take them. All fields are guarded by ``changed``."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.changed = threading.Condition()
        self.records: deque[Record] = deque()
        self.first = 0  # position of records[0]
        self.nbytes = 0
        self.frames = 0  # put so far
        self.positions: dict[str, int] = {}
        self.started = False
        self.cancelled: Cancelled | None = None

    def put(self, record: Record) -> None:
        size = getattr(record, "nbytes", 0)
        with self.changed:
            self.started = True
            while self.cancelled is None and not self.window.has_room(len(self.records), self.nbytes):
                self.changed.wait()
            self._check()
            self.frames += not isinstance(record, EndOfStream)
            if self.positions:  # without readers there is nobody to keep it for
                self.records.append(record)
                self.nbytes += size
                self.changed.notify_all()

    def get(self, group: str, timeout: float | None) -> Record | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.changed:
            position = self.positions[group]
            while self.cancelled is None and position >= self.first + len(self.records):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self.changed.wait(left)
            self._check()
            record = self.records[position - self.first]
            self.positions[group] = position + 1
            self._reclaim()
            return record

    def cancel(self, cause: BaseException | None) -> None:
        with self.changed:
            if self.cancelled is None:
                self.cancelled = Cancelled("the run was stopped")
                self.cancelled.__cause__ = cause
                self.records.clear()
                self.changed.notify_all()

    def _reclaim(self) -> None:
        slowest = min(self.positions.values())
        freed = False
        while self.first < slowest:
            self.nbytes -= getattr(self.records.popleft(), "nbytes", 0)
            self.first += 1
            freed = True
        if freed:
            self.changed.notify_all()

    def _check(self) -> None:
        if self.cancelled is not None:
            raise Cancelled(self.cancelled.message) from self.cancelled.__cause__


@dataclass(frozen=True, slots=True)
class MemoryWriter:
    """See :class:`posetask.transport.bus.Writer`."""

    _topic: _Topic

    @property
    def next_index(self) -> int:
        """Frames put so far."""
        return self._topic.frames

    @property
    def reach(self) -> int:
        """Frames put so far."""
        return self._topic.frames

    @property
    def frames(self) -> int | None:
        """Unknown: nothing is ever put a second time."""
        return None

    def attended(self, timeout: float) -> bool:
        """Always: what is in memory stays there until it is read."""
        return True

    def put(self, record: Record, *, quarantined: bool = False) -> None:
        """Append; waits for room. Nothing is ever quarantined in a process that dies whole."""
        self._topic.put(record)

    def flush(self) -> None:
        """Nothing is in flight: a record is with its readers when ``put`` returns."""


@dataclass(frozen=True, slots=True)
class MemoryReader:
    """See :class:`posetask.transport.bus.Reader`."""

    _topic: _Topic
    group: str

    @property
    def next_index(self) -> int:
        """Frames taken so far."""
        with self._topic.changed:
            return min(self._topic.positions[self.group], self._topic.frames)

    @property
    def share(self) -> Share:
        """Every frame: a process has no replicas in itself."""
        return Share()

    @property
    def starts(self) -> int:
        """Always the first: a place in memory dies with its process."""
        return 1

    def get(self, timeout: float | None = None) -> Record | None:
        """The next record of this group."""
        return self._topic.get(self.group, timeout)

    def commit(self, index: int) -> None:
        """Nothing to do: taking a record already freed it."""


class MemoryBus:
    """Topics in this process's memory.

    Args:
        window: Flow control of topics that hold pixels; result topics are small and share its count.
    """

    def __init__(self, window: Window | None = None) -> None:
        self._window = window or Window()
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}
        self._cause: BaseException | None = None
        self._cancelled = False

    def writer(self, topic: str) -> MemoryWriter:
        """The writer of ``topic``."""
        return MemoryWriter(self._get(topic))

    def reader(self, topic: str, group: str) -> MemoryReader:
        """A reader for ``group``, from the first record on.

        Raises:
            ValueError: The group reads the topic already, or records have been put.
        """
        found = self._get(topic)
        with found.changed:
            if group in found.positions or found.started:
                raise ValueError(f"{group} cannot join {topic}: it reads it already, or records have gone by")
            found.positions[group] = 0
        return MemoryReader(found, group)

    def cancel(self, cause: BaseException | None = None) -> None:
        """Wake everyone with :class:`Cancelled`."""
        with self._lock:
            self._cancelled = True
            self._cause = self._cause or cause
            topics = list(self._topics.values())
        for topic in topics:
            topic.cancel(self._cause)

    def close(self) -> None:
        """Wake whoever still waits, and let go of what is held."""
        self.cancel()

    def held(self) -> dict[str, tuple[int, int]]:
        """Records and bytes held by each topic, for progress and tests."""
        with self._lock:
            topics = dict(self._topics)
        return {name: (len(t.records), t.nbytes) for name, t in topics.items()}

    def _get(self, name: str) -> _Topic:
        with self._lock:
            topic = self._topics.setdefault(name, _Topic(self._window))
            if self._cancelled:
                topic.cancel(self._cause)
            return topic
