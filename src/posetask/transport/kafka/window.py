"""Flow control as arithmetic: from committed offsets to how far a writer may run, and what it keeps on disk.

A topic's window (:class:`posetask.transport.memory.Window`) bounds the frames, and their bytes, between the
writer and its slowest committed reader. A group without a commit counts as 0.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posetask.transport.memory import Window


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group stands in one partition: Kafka's committed offset, and what we wrote beside it.

    Attributes:
        offset: The next record to read.
        next_index: The next frame that the group needs from this partition. Not derivable from the
            offset: a producer that emits again writes the same frame at another offset.
        starts: How often a process began at this offset; see DESIGN's poison frames.
    """

    offset: int
    next_index: int
    starts: int = 0

    def metadata(self) -> str:
        """As commit metadata.

        >>> Place(12, 36, 1).metadata()
        '{"next":36,"starts":1}'
        """
        return json.dumps({"next": self.next_index, "starts": self.starts}, separators=(",", ":"))

    @classmethod
    def parse(cls, offset: int, metadata: str | None, partition: int, partitions: int) -> Place | None:
        """The inverse; None where nothing was committed.

        Metadata of a stranger (an offset reset by hand with Kafka's tools) is not an error: then frames and
        offsets are taken to run in step, which they do unless the producer emitted again.

        >>> Place.parse(12, '{"next":36,"starts":1}', 0, 3)
        Place(offset=12, next_index=36, starts=1)
        >>> Place.parse(4, "", 1, 3)
        Place(offset=4, next_index=13, starts=0)
        >>> Place.parse(-1001, None, 0, 1) is None
        True
        """
        if offset < 0:
            return None
        try:
            fields = json.loads(metadata or "")
            index, starts = int(fields["next"]), int(fields["starts"])
            if index < 0 or starts < 0 or index % partitions != partition:
                raise ValueError
        except (ValueError, TypeError, KeyError):
            return cls(offset, partition + offset * partitions)
        return cls(offset, index, starts)


Places = Mapping[int, Place | None]
"""A group's places by partition; None or missing where it has not committed."""


def slowest_index(groups: Sequence[Places], partitions: int) -> int:
    """The first frame that some group still needs; every frame below is done with.

    >>> slowest_index([{0: Place(5, 5)}, {0: Place(3, 3)}], 1)
    3
    >>> slowest_index([{0: Place(2, 4), 1: Place(1, 3)}, {0: Place(9, 18)}], 2)
    1
    """
    return min(
        (
            place.next_index if place is not None else p
            for places in groups
            for p in range(partitions)
            for place in [places.get(p)]
        ),
        default=0,
    )


def reclaimable(groups: Sequence[Places], high_watermarks: Mapping[int, int]) -> dict[int, int]:
    """Per partition the offset below which nobody needs anything: what ``delete_records`` is given.

    Always leaves each partition's last record: a writer that restarts reads there how far it was.

    >>> reclaimable([{0: Place(8, 8)}, {0: Place(5, 5)}], {0: 12})
    {0: 5}
    >>> reclaimable([{0: Place(12, 12)}], {0: 12})
    {0: 11}
    >>> reclaimable([{0: Place(8, 8)}, {}], {0: 12})
    {}
    """
    out = {}
    for partition, high in high_watermarks.items():
        offsets = [place.offset if (place := places.get(partition)) is not None else 0 for places in groups]
        below = min([*offsets, high - 1])
        if offsets and below > 0:
            out[partition] = below
    return out


class Trail:
    """Where the frames of one partition lie that this writer sent.

    Args:
        start: The first frame that this writer sends to the partition.
        partitions: Of the topic: frames of one partition are so far apart.
    """

    def __init__(self, start: int, partitions: int) -> None:
        self.start = start
        self._first, self._step = start, partitions
        self._offsets: deque[int] = deque()

    def landed(self, offset: int) -> None:
        """The next frame was acknowledged at ``offset``."""
        self._offsets.append(offset)

    def settle(self, slowest: int) -> None:
        """No reader needs a frame below ``slowest`` any more."""
        while self._offsets and self._first < slowest:
            self._offsets.popleft()
            self._first += self._step

    def offset_of(self, index: int) -> int | None:
        """Of a frame; None where it is not acknowledged yet.

        >>> trail = Trail(1, 3)
        >>> trail.landed(40), trail.landed(41), trail.settle(2)
        (None, None, None)
        >>> trail.offset_of(4), trail.offset_of(7)
        (41, None)
        """
        number = (index - self._first) // self._step
        return self._offsets[number] if 0 <= number < len(self._offsets) else None


def first_gone(groups: Sequence[Places], low: Mapping[int, int], trails: Mapping[int, Trail]) -> int | None:
    """The first frame that a group needs and that left the broker; None where all is there.

    Args:
        groups: Where they stand, asked after ``low``: what is reclaimed was committed before.
        low: Offset of the first record of each partition.
        trails: Of what the writer sent to each partition.

    >>> first_gone([{0: Place(4, 4)}], {0: 3}, {0: Trail(9, 1)}) is None
    True
    >>> first_gone([{0: Place(4, 4)}, {}], {0: 6}, {0: Trail(9, 1)})
    0
    >>> sent_again = Trail(4, 1)
    >>> sent_again.landed(9)
    >>> first_gone([{0: Place(4, 4)}], {0: 6}, {0: sent_again}) is None
    True
    """
    gone = []
    for places in groups:
        for p, trail in trails.items():
            place = places.get(p)
            index, offset = (place.next_index, place.offset) if place is not None else (p, 0)
            at = offset if index < trail.start else trail.offset_of(index)
            if at is not None and at < low.get(p, 0):
                gone.append(index)
    return min(gone, default=None)


class Ledger:
    """What a writer has sent and its readers still hold.

    Args:
        next_index: The first frame that this writer will send.
        slowest: The first frame that some reader needs: those between are on the topic already, of unknown
            size, and are taken to be as large as the frame at hand.
    """

    def __init__(self, next_index: int, slowest: int) -> None:
        self._inherited_until = next_index
        self._slowest = min(slowest, next_index)
        self._sent: deque[tuple[int, int]] = deque()
        self._nbytes = 0

    def sent(self, index: int, nbytes: int) -> None:
        """Frame ``index`` of ``nbytes`` goes to the topic."""
        self._sent.append((index, nbytes))
        self._nbytes += nbytes

    def settle(self, slowest: int) -> None:
        """No reader needs a frame below ``slowest`` any more."""
        self._slowest = max(self._slowest, slowest)
        while self._sent and self._sent[0][0] < self._slowest:
            self._nbytes -= self._sent.popleft()[1]

    @property
    def records(self) -> int:
        """Frames between the slowest reader and the writer."""
        return self._inherited + len(self._sent)

    @property
    def _inherited(self) -> int:
        return max(0, self._inherited_until - self._slowest)

    def has_room(self, window: Window, nbytes: int) -> bool:
        """Whether a frame of ``nbytes`` may go now.

        >>> ledger = Ledger(0, 0)
        >>> ledger.sent(0, 60)
        >>> ledger.has_room(Window(records=8, nbytes=50, at_least=1), 60)
        False
        >>> ledger.settle(1)
        >>> ledger.has_room(Window(records=8, nbytes=50, at_least=1), 60)
        True
        """
        return window.has_room(self.records, self._nbytes + self._inherited * nbytes)


def raw_window(segment_frames: int, encoder_delay: int, batch: int = 8, nbytes: int = 64 * 2**20) -> Window:
    """The window of ``raw_frames``: two segments plus what the encoder holds back.

    The annotator commits a whole segment at a time, so with less than two it would stand while it waits for
    its own commit. Where ``nbytes`` fills first it closes a segment early, so bytes may be exceeded only by
    what the encoder and a batch hold.

    >>> raw_window(segment_frames=50, encoder_delay=2)
    Window(records=110, nbytes=67108864, at_least=10)
    """
    return Window(
        records=2 * segment_frames + encoder_delay + batch, nbytes=nbytes, at_least=encoder_delay + batch
    )


@dataclass(frozen=True, slots=True)
class Footprint:
    """What bounds a run's ``raw_frames`` on the brokers' disks.

    Attributes:
        window_bytes: Of the flow control.
        bytes_per_second: The producer's mean rate while nobody holds it back.
        partitions: Of the topic.
        segment_bytes: Of the topic: the newest segment of a partition is never deleted.
        reclaim_seconds: Of the writer: so long what all have committed stays before it is deleted.
        check_seconds: ``log.retention.check.interval.ms`` of the brokers: reclaimed segments leave only then.
        delete_seconds: ``file.delete.delay.ms`` of the topic, until a deleted file is really gone.
        largest_record: A segment ends before the record that would overfill it.
        replication: Copies.
    """

    window_bytes: int
    bytes_per_second: float
    partitions: int = 1
    segment_bytes: int = 16 * 2**20
    reclaim_seconds: float = 2.0
    check_seconds: float = 300.0
    delete_seconds: float = 1.0
    largest_record: int = 8 * 2**20
    replication: int = 1

    @property
    def bound(self) -> int:
        """Bytes: the window, what flows by until it is gone, and per partition two segments.

        One of the two is being filled, the other is held whole by its one record that is still needed.

        >>> Footprint(window_bytes=64 * 2**20, bytes_per_second=3e6, check_seconds=5).bound // 2**20
        126
        """
        passing = self.bytes_per_second * (self.reclaim_seconds + self.check_seconds + self.delete_seconds)
        segments = 2 * self.segment_bytes * self.partitions + self.largest_record
        return self.replication * int(self.window_bytes + passing + segments)
