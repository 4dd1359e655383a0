"""Puts what a consumer gets into frame order: reorders over partitions, drops doubles, sees gaps, ends once.

No Kafka in here: offsets and indices in, items in order and places to commit out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from posetask.errors import StreamBroken
from posetask.transport.kafka.names import first_index
from posetask.transport.kafka.window import Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ahead:
    """How much of one partition may wait for the others, before it is paused."""

    records: int = 64
    nbytes: int = 16 * 2**20


@dataclass(slots=True)
class _Partition(Generic[T]):
    expected: int  # the next index that may come in
    out: int  # the next index that is handed out
    skipping: bool  # its beginning expired: everything before `expected` comes again is passed over
    waiting: deque[tuple[int, int, int, T]] = field(default_factory=deque)  # index, offset, bytes, item
    taken: deque[tuple[int, int, int]] = field(default_factory=deque)  # index, offset, bytes; not committed
    nbytes: int = 0
    frames: int | None = None  # from the end of the stream
    paused: bool = False


class Sequencer(Generic[T]):
    """The records of some partitions of a topic, in frame order.

    Args:
        topic: For messages.
        total: Partitions of the topic.
        start: Of each assigned partition the next frame that is needed.
        skipping: Partitions whose needed frames expired and will be sent again by the producer.
        ahead: Bounds what waits in memory.
    """

    def __init__(
        self,
        topic: str,
        total: int,
        start: Mapping[int, int],
        skipping: Sequence[int] = (),
        ahead: Ahead | None = None,
    ) -> None:
        self._topic, self._total, self._ahead = topic, total, ahead or Ahead()
        self._partitions: dict[int, _Partition[T]] = {
            p: _Partition(first_index(p, total, index), first_index(p, total, index), p in skipping)
            for p, index in start.items()
        }
        self._end_given = False

    @property
    def next_index(self) -> int:
        """The frame that comes next."""
        return min(partition.out for partition in self._partitions.values())

    @property
    def held(self) -> tuple[int, int]:
        """Records handed out and not committed, and their bytes."""
        taken = [entry for partition in self._partitions.values() for entry in partition.taken]
        return len(taken), sum(nbytes for _, _, nbytes in taken)

    def offer(self, partition: int, offset: int, index: int, nbytes: int, item: T) -> None:
        """A frame's record came.

        Raises:
            StreamBroken: The partition skipped a frame, or goes on after its end.
        """
        state = self._partitions[partition]
        if index % self._total != partition:
            raise StreamBroken(
                f"frame {index} lies in partition {partition} of {self._total} of {self._topic}"
            )
        if index < state.expected:
            return  # at least once: seen before
        if index > state.expected:
            if state.skipping:
                return
            raise StreamBroken(
                f"{self._topic} continues at frame {index} where frame {state.expected} was due"
                f" (partition {partition}, offset {offset})",
                hint="records were deleted or lost; submit the task again",
            )
        if state.frames is not None and index >= state.frames:
            raise StreamBroken(f"{self._topic} has frame {index} after its end at {state.frames}")
        state.skipping = False
        state.waiting.append((index, offset, nbytes, item))
        state.nbytes += nbytes
        state.expected += self._total

    def offer_end(self, partition: int, frames: int) -> None:
        """The end of a partition came.

        Raises:
            StreamBroken: Frames are missing, or the partitions disagree about the count.
        """
        state = self._partitions[partition]
        if state.expected < frames:
            if state.skipping:
                return
            raise StreamBroken(
                f"{self._topic} ends at {frames} frames, and frame {state.expected} never came",
                hint="records were deleted or lost; submit the task again",
            )
        state.skipping = False
        known = {s.frames for s in self._partitions.values() if s.frames is not None}
        if state.expected >= frames + self._total or (known and known != {frames}):
            raise StreamBroken(
                f"{self._topic} ends at {frames} frames in partition {partition}, and elsewhere later"
            )
        state.frames = frames

    @property
    def awaited(self) -> int | None:
        """The first frame that was lost to retention and did not come again yet."""
        return min((s.expected for s in self._partitions.values() if s.skipping), default=None)

    def expired(self, partition: int) -> int:
        """What comes next in ``partition`` left the broker: wait for it to be sent again; gives its index."""
        state = self._partitions[partition]
        state.skipping = True
        return state.expected

    def take(self) -> tuple[int, T] | int | None:
        """The next frame's index and item, the count of frames once at the end, or None: not here yet."""
        state = min(self._partitions.values(), key=lambda each: each.out)
        if state.waiting:
            index, offset, nbytes, item = state.waiting.popleft()
            state.nbytes -= nbytes
            state.out += self._total
            state.taken.append((index, offset, nbytes))
            return index, item
        ends = {s.frames for s in self._partitions.values()}
        if self._end_given or None in ends or state.frames is None or state.out < state.frames:
            return None
        self._end_given = True
        return state.frames

    @property
    def ended(self) -> bool:
        """The end has been handed out."""
        return self._end_given

    def overfull(self) -> list[int]:
        """Partitions to pause now: they run ahead. Never the one that the next frame must come from."""
        out = []
        for p, state in self._partitions.items():
            full = len(state.waiting) >= self._ahead.records or state.nbytes >= self._ahead.nbytes
            if full and not state.paused:
                state.paused = True
                out.append(p)
        return out

    def drained(self) -> list[int]:
        """Partitions to resume now."""
        out = []
        for p, state in self._partitions.items():
            low = len(state.waiting) <= self._ahead.records // 2 and state.nbytes <= self._ahead.nbytes // 2
            if state.paused and low:
                state.paused = False
                out.append(p)
        return out

    def commit(self, index: int) -> dict[int, Place]:
        """Everything up to frame ``index`` is done with; gives the places that moved.

        A place is after the last frame that was handed out and is done with, so never after the end of the
        stream: a reader that starts anew must find it again.
        """
        places = {}
        for p, state in self._partitions.items():
            last = None
            while state.taken and state.taken[0][0] <= index:
                last = state.taken.popleft()
            if last is not None:
                places[p] = Place(last[1] + 1, last[0] + self._total, 1)
        return places
