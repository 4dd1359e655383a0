"""A source under the runner: where its stream ends, and how long it stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import pytest

from posetask.messages import DecodeReport, Detections, EndOfStream, FrameHeader, Message
from posetask.runtime.runner import StageRunner
from posetask.stages.base import Source, StageContext, StageParameters
from posetask.transport import EmitAgain, Record


class CountingSource(Source[StageParameters]):
    """``length`` frames without pictures, or without end."""

    name = "counting"
    description = "counts"
    port = 8199
    output = "numbers"
    Parameters: ClassVar[type[StageParameters]] = StageParameters

    def __init__(self, length: int | None, begin: int = 0) -> None:
        super().__init__(StageParameters(), StageContext())
        self.length, self.begin, self.stopped = length, begin, False

    def produce(self) -> Iterator[Message]:
        index = self.begin
        while not self.stopped and (self.length is None or index < self.length):
            yield Detections.empty(FrameHeader(index, index, Fraction(1, 25), 16, 16, 1, 25.0))
            index += 1

    @property
    def report(self) -> DecodeReport:
        return DecodeReport()

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Topic:
    """A writer over a list; ``attend`` says whether all readers are done."""

    next_index: int = 0
    reach: int = 0
    frames: int | None = None
    attend: Callable[[], bool] = lambda: True
    got: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    on_put: Callable[[int], None] = lambda index: None

    def put(self, record: Record, *, quarantined: bool = False) -> None:
        if isinstance(record, EndOfStream):
            self.ends.append(record.frames)
        else:
            self.got.append(record.header.index)
            self.on_put(record.header.index)

    def flush(self) -> None:
        return

    def attended(self, timeout: float) -> bool:
        return self.attend()


def test_a_stream_that_ended_is_sent_again_no_longer_than_it_was() -> None:
    topic = Topic(next_index=2, reach=5, frames=5)
    runner = StageRunner(CountingSource(length=9), [], topic)
    assert runner.run() == 5
    assert (topic.got, topic.ends) == ([2, 3, 4], [5])


@pytest.mark.parametrize(("next_index", "reach", "frames"), [(0, 0, 1), (2, 7, 7), (7, 7, 7)])
def test_a_stream_ends_early_only_after_what_readers_may_know(
    next_index: int, reach: int, frames: int
) -> None:
    topic = Topic(next_index=next_index, reach=reach)
    runner = StageRunner(CountingSource(length=None), [], topic)
    runner.finish_early()
    assert runner.run() == frames
    assert (topic.got, topic.ends) == (list(range(next_index, frames)), [frames])


def test_a_source_stays_until_all_have_read() -> None:
    looks = iter([False, False, True])
    topic = Topic(attend=lambda: next(looks))
    runner = StageRunner(CountingSource(length=3), [], topic)
    runner.run()
    assert runner.progress.done
    assert next(looks, None) is None


def test_a_source_that_is_stopped_while_it_stays_is_not_done() -> None:
    topic = Topic()
    runner = StageRunner(CountingSource(length=3), [], topic)

    def stop_and_look() -> bool:
        runner.stop()
        return False

    topic.attend = stop_and_look
    assert runner.run() == 3
    assert (topic.ends, runner.progress.done) == ([3], False)


def test_what_must_be_sent_again_wakes_everyone_and_is_no_defect_of_the_stage() -> None:
    def gone() -> bool:
        raise EmitAgain(1)

    causes: list[BaseException] = []
    runner = StageRunner(CountingSource(length=3), [], Topic(attend=gone), on_failure=causes.append)
    with pytest.raises(EmitAgain, match="frame 1 left the broker"):
        runner.run()
    assert [type(cause) for cause in causes] == [EmitAgain]


def test_a_live_source_goes_on_with_the_next_number() -> None:
    topic = Topic(next_index=4, reach=4)
    runner = StageRunner(CountingSource(length=6, begin=4), [], topic)
    assert runner.run() == 6
    assert (topic.got, topic.ends) == ([4, 5], [6])


def test_a_stop_ends_a_source_between_two_frames() -> None:
    topic = Topic()
    runner = StageRunner(CountingSource(length=None), [], topic)
    topic.on_put = lambda index: runner.stop() if index == 3 else None
    assert runner.run() == 4
    assert (topic.ends, runner.progress.done) == ([], False)
