"""A frame that kills where less was committed than emitted: its deaths must be counted at that very frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from posetask.messages import DecodeReport, EndOfStream, FrameHeader
from posetask.runtime import StageRunner
from posetask.stages import Stage, StageContext, StageParameters
from posetask.transport.bus import Share

FRAMES, POISON, COMMITTED = 12, 7, 4


class Killed(BaseException):
    """The process dies here: nothing after it happens."""


class Note:
    def __init__(self, index: int, text: str = "") -> None:
        self.header, self.text = FrameHeader(index, index, Fraction(1, 25), 2, 2), text


class World:
    """What outlives a process: the output up to the poison, and a place that lies behind it."""

    def __init__(self) -> None:
        self.out = [Note(i, "done") for i in range(POISON)]
        self.ended = False
        self.place, self.starts = COMMITTED, 1


class Reader:
    """Counts starts at its place as the one over Kafka does; a commit takes effect with the next flush."""

    share = Share()

    def __init__(self, world: World) -> None:
        self.world, self.wanted = world, world.place
        self.next_index, self.starts = world.place, world.starts + 1
        self._records = iter(
            [*(Note(i) for i in range(world.place, FRAMES)), EndOfStream(FRAMES, DecodeReport())]
        )
        self._begun = False

    def get(self, timeout: float | None = None) -> Any:
        if not self._begun:
            self._begun, self.world.starts = True, self.starts
        return next(self._records)

    def commit(self, index: int) -> None:
        self.wanted = index + 1

    def settle(self) -> None:
        if self.wanted > self.world.place:
            self.world.place, self.world.starts = self.wanted, 1


class Writer:
    reach, frames = 0, None

    def __init__(self, world: World, reader: Reader) -> None:
        self.world, self.reader = world, reader

    @property
    def next_index(self) -> int:
        return len(self.world.out)

    def put(self, record: Any, *, quarantined: bool = False) -> None:
        if isinstance(record, EndOfStream):
            self.world.ended = True
        else:
            self.world.out.append(record)

    def flush(self) -> None:
        self.reader.settle()

    def attended(self, seconds: float) -> bool:
        return True


class Brittle(Stage[StageParameters]):
    name, description, port, inputs, output = "brittle", "dies", 9171, ("notes",), "brittle"
    Parameters = StageParameters

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        if any(note.header.index == POISON for (note,) in batch):
            raise Killed
        return [Note(note.header.index, "done") for (note,) in batch]

    def empty(self, inputs: tuple[Any, ...]) -> Any:
        return Note(inputs[0].header.index, "empty")


def test_it_is_given_up_after_a_few_lives() -> None:
    world, deaths = World(), 0
    while not world.ended and deaths < 10:
        reader: Any = Reader(world)
        writer: Any = Writer(world, reader)
        try:
            StageRunner(Brittle(StageParameters(), StageContext()), [reader], writer).run()
        except Killed:
            deaths += 1
    assert world.ended
    assert deaths == 2, "once to move the place to the frame, once more to be counted there"
    assert [note.text for note in world.out] == ["empty" if i == POISON else "done" for i in range(FRAMES)]


def test_a_frame_that_kills_once_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(
        Brittle, "process", lambda self, batch: [Note(n.header.index, "done") for (n,) in batch]
    )
    reader: Any = Reader(world)
    writer: Any = Writer(world, reader)
    StageRunner(Brittle(StageParameters(), StageContext()), [reader], writer).run()
    assert [note.text for note in world.out] == ["done"] * FRAMES
