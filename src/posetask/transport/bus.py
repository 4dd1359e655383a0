"""The bus between stages: topics of records in frame order, then the end of the stream.

A topic holds one record for every frame, index 0, 1, 2 … without gaps, and one
:class:`~posetask.messages.EndOfStream`. Readers belong to a named group (the stage that reads);
every group sees every record. Flow control is the bus's: a writer waits while the slowest group is
a window behind (DESIGN §3).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from posetask.errors import PoseTaskError, Unavailable
from posetask.messages import EndOfStream, Message

Record = Message | EndOfStream


class Cancelled(PoseTaskError):
    """The run was stopped: another stage failed, or the user asked for it."""


class EmitAgain(Unavailable):
    """What a reader needs has left the broker: the writer must begin anew, at that frame.

    Args:
        index: The frame.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"frame {index} left the broker before all had read it", hint="it is sent again")
        self.index = index


@dataclass(frozen=True, slots=True)
class Share:
    """The frames that one of several processes works: those whose index mod ``of`` is in ``parts``.

    >>> share = Share(3, (0, 2))
    >>> [share.first(i) for i in range(5)]
    [0, 2, 2, 3, 5]
    >>> share.count(5), Share().count(5)
    (3, 5)
    """

    of: int = 1
    parts: tuple[int, ...] = (0,)

    @classmethod
    def of_partitions(cls, total: int, mine: Collection[int]) -> Share:
        """The share that lies in these of ``total`` partitions; all of them are the whole stream."""
        return cls() if len(mine) == total else cls(total, tuple(sorted(mine)))

    def first(self, least: int = 0) -> int:
        """The first frame of the share that is not below ``least``."""
        return min(least + (part - least) % self.of for part in self.parts)

    def count(self, frames: int) -> int:
        """How many of the first ``frames`` frames are in the share."""
        return sum(len(range(part, frames, self.of)) for part in self.parts)


class Writer(Protocol):
    """The one writer of a topic."""

    @property
    def next_index(self) -> int:
        """The first frame that is not on the topic yet; a stage that starts anew emits from here."""
        ...

    @property
    def reach(self) -> int:
        """Frames that were on the topic at some time; more than ``next_index`` where some must go again."""
        ...

    @property
    def frames(self) -> int | None:
        """Length of the stream, where its end was put, by this writer or an earlier one."""
        ...

    def put(self, record: Record, *, quarantined: bool = False) -> None:
        """Append a record; blocks while the window is full.

        Args:
            record: The next frame's, or the end.
            quarantined: The frame was given up after repeated crashes, and the record is empty.

        Raises:
            Cancelled: The run ended while waiting.
            EmitAgain: The writer must begin anew.
        """
        ...

    def attended(self, timeout: float) -> bool:
        """Whether all readers that hold this writer back are done with the whole stream, its end being put.

        Args:
            timeout: Seconds to wait for it.

        Raises:
            Cancelled: The run ended while waiting.
            EmitAgain: The writer must begin anew.
        """
        ...

    def flush(self) -> None:
        """Return when everything put so far is acknowledged."""
        ...


class Reader(Protocol):
    """One group's place in a topic."""

    @property
    def next_index(self) -> int:
        """The frame that ``get`` gives next; above 0 where the group committed in an earlier life."""
        ...

    @property
    def share(self) -> Share:
        """The frames that ``get`` gives; the whole stream but for a replica."""
        ...

    @property
    def starts(self) -> int:
        """Which start at its committed place this is: 2 or more means that the one before died there."""
        ...

    def get(self, timeout: float | None = None) -> Record | None:
        """The next record; None when ``timeout`` seconds passed without one (None waits for ever).

        Raises:
            Cancelled: The run ended while waiting.
        """
        ...

    def commit(self, index: int) -> None:
        """This group needs nothing up to and including frame ``index`` any more."""
        ...


class Bus(Protocol):
    """Where stages meet."""

    def writer(self, topic: str) -> Writer:
        """The writer of ``topic``."""
        ...

    def reader(self, topic: str, group: str) -> Reader:
        """A reader of ``topic`` for ``group``; all readers are made before the first record is put."""
        ...

    def cancel(self, cause: BaseException | None = None) -> None:
        """Wake everyone who waits with :class:`Cancelled`; the first cause wins."""
        ...

    def close(self) -> None:
        """Free what the bus holds; every thread that uses it must have ended."""
        ...
