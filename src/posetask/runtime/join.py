"""Joins the inputs of a stage by frame index."""

from __future__ import annotations

import time
from collections.abc import Sequence

from posetask.errors import StageFailed
from posetask.messages import EndOfStream, Message
from posetask.transport import Reader, Record
from posetask.transport.bus import Share

Bundle = tuple[Message, ...]


class JoinedReader:
    """One bundle for every frame: the messages of all inputs about it, in the inputs' order.

    Every topic carries every frame in order, so the join is a walk in step. A record seen before
    (at-least-once delivery) is passed over; a gap or ends that disagree are a broken contract. A replica
    reads its share of every input, and walks from one frame of it to the next.

    Args:
        readers: One for each input, in the bundles' order.
        start: The first frame that is wanted; readers may be earlier, never later.

    Raises:
        StageFailed: The inputs are not shared out alike.
    """

    def __init__(self, readers: Sequence[Reader], start: int = 0) -> None:
        self.share = share_of(readers)
        self._readers = readers
        self._partial: list[Record] = []
        self._next = self.share.first(start)

    def get(self, timeout: float | None = None) -> Bundle | EndOfStream | None:
        """The next frame's bundle, the end of the stream, or None after ``timeout`` seconds.

        Raises:
            StageFailed: An input skipped a frame, or the inputs end at different counts.
            Cancelled: The run ended while waiting.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while len(self._partial) < len(self._readers):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            record = self._readers[len(self._partial)].get(left)
            if record is None:
                return None
            if isinstance(record, EndOfStream):
                if self.share.first(record.frames) != self._next:
                    self._expect(record.frames, "ends")
            elif record.header.index < self._next:
                continue
            else:
                self._expect(record.header.index, "continues")
            self._partial.append(record)
        records, self._partial = self._partial, []
        ends = [record for record in records if isinstance(record, EndOfStream)]
        if ends:
            if len(ends) < len(records):
                raise StageFailed(f"the inputs disagree: some end at frame {self._next}, some go on")
            return ends[0]
        self._next = self.share.first(self._next + 1)
        return tuple(record for record in records if not isinstance(record, EndOfStream))

    def commit(self, index: int) -> None:
        """Nothing up to ``index`` is needed from any input any more."""
        for reader in self._readers:
            reader.commit(index)

    def _expect(self, index: int, verb: str) -> None:
        if index != self._next:
            raise StageFailed(f"an input {verb} at frame {index} where frame {self._next} was due")


def share_of(readers: Sequence[Reader]) -> Share:
    """The frames that all of ``readers`` give.

    Raises:
        StageFailed: They give different ones.
    """
    shares = {reader.share for reader in readers}
    if not shares:
        raise ValueError("a join needs at least one input")
    if len(shares) > 1:
        raise StageFailed(
            "the inputs are not shared out alike",
            hint="the topics that a replica reads need the same number of partitions",
        )
    return shares.pop()
