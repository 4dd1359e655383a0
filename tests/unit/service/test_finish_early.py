"""A stream that is ended early ends behind what an earlier process sent already."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from posetask.messages import DecodeReport, EndOfStream, FrameHeader
from posetask.runtime import StageRunner
from posetask.stages import Source, StageContext, StageParameters


class Note:
    def __init__(self, index: int) -> None:
        self.header = FrameHeader(index, index, Fraction(1, 25), 2, 2)


class Counting(Source[StageParameters]):
    """Ten thousand notes, unless it is told to stop."""

    name, description, port, output, Parameters = "counting-up", "counts", 9170, "notes", StageParameters
    told = False

    def produce(self) -> Iterator[Any]:
        for index in range(10_000):
            if self.told:
                return
            yield Note(index)

    @property
    def report(self) -> DecodeReport:
        return DecodeReport()

    def stop(self) -> None:
        self.told = True


class Topic:
    def __init__(self, held: int) -> None:
        self.next_index = self.reach = held
        self.frames, self.put_now, self.end = None, 0, -1

    def put(self, record: Any, *, quarantined: bool = False) -> None:
        if isinstance(record, EndOfStream):
            self.end = record.frames
        else:
            self.put_now += 1

    def flush(self) -> None:
        return

    def attended(self, seconds: float) -> bool:
        return True


@pytest.mark.parametrize(("held", "end"), [(0, 1), (1, 1), (120, 120)])
def test_it_ends_after_the_frame_at_hand_or_the_last_one_sent(held: int, end: int) -> None:
    topic: Any = Topic(held)
    runner = StageRunner(Counting(StageParameters(), StageContext()), [], topic)
    runner.finish_early()
    runner.run()
    assert topic.end == end
    assert topic.put_now == max(0, end - held)
    assert runner.progress.done
