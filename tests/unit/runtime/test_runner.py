"""The runner's promises, on stages made for the purpose."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetask.errors import PoseTaskError, SourceNotFound, StageFailed
from posetask.messages import DecodeReport, EndOfStream, Frame, FrameHeader, Message
from posetask.runtime import JoinedReader, StageRunner
from posetask.stages import Batching, Source, Stage, StageContext, StageParameters
from posetask.transport import Cancelled, MemoryBus, Window


@dataclass(frozen=True)
class Note:
    header: FrameHeader
    text: str


class Nothing(StageParameters):
    pass


class Numbers(Source[Nothing]):
    output = "numbers"
    Parameters = Nothing

    def __init__(self, frames: int, fail_at: int = -1) -> None:
        super().__init__(Nothing(), StageContext())
        self.frames, self.fail_at, self.closed = frames, fail_at, 0
        self.name = "numbers"

    def produce(self) -> Iterator[Frame]:
        for i in range(self.frames):
            if i == self.fail_at:
                raise SourceNotFound(f"frame {i} is gone")
            header = FrameHeader(index=i, pts=i, time_base=Fraction(1, 25), width=2, height=2)
            yield Frame(header, np.full((2, 2, 3), i % 256, np.uint8))

    @property
    def report(self) -> DecodeReport:
        return DecodeReport(frames_decoded=self.frames)

    def close(self) -> None:
        self.closed += 1


class Work(Stage[Nothing]):
    """Answers each frame with a note; misbehaves as told."""

    inputs = ("numbers",)
    output = "notes"
    Parameters = Nothing
    concurrent = True

    def __init__(
        self, batching: Batching | None = None, jitter: float = 0, wrong: str = "", name: str = "work"
    ) -> None:
        super().__init__(Nothing(), StageContext())
        self._batching = batching or Batching()
        self.jitter, self.wrong, self.name = jitter, wrong, name
        self.sizes: list[int] = []
        self.closed = 0

    @property
    def batching(self) -> Batching:
        return self._batching

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        self.sizes.append(len(batch))
        if self.jitter:
            time.sleep(self.jitter * ((batch[0][0].header.index * 7) % 3))
        if self.wrong == "raise":
            raise ZeroDivisionError("by nought")
        if self.wrong == "short":
            return []
        shift = 1 if self.wrong == "shift" else 0
        return [
            Note(
                FrameHeader(**{**_fields(b[0].header), "index": b[0].header.index + shift}),
                str(b[0].header.index),
            )
            for b in batch
        ]

    def close(self) -> None:
        self.closed += 1


class Holding(Work):
    """Holds everything back until the end."""

    concurrent = False

    def __init__(self, lose: int = 0) -> None:
        super().__init__(name="holding")
        self.held: list[Message] = []
        self.lose = lose

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        self.held += super().process(batch)
        return ()

    def finish(self, end: EndOfStream) -> Sequence[Message]:
        return self.held[: len(self.held) - self.lose]


def _fields(header: FrameHeader) -> dict[str, Any]:
    return {name: getattr(header, name) for name in FrameHeader.__dataclass_fields__}


def run(
    source: Numbers, stage: Stage[Any], window: Window | None = None
) -> tuple[list[str], EndOfStream, list[BaseException]]:
    bus = MemoryBus(window)
    runners = [StageRunner.on(bus, stage), StageRunner.on(bus, source)]
    out = JoinedReader([bus.reader("notes", "test")])
    errors: list[BaseException] = []

    def work(runner: StageRunner) -> None:
        try:
            runner.run()
        except PoseTaskError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    texts: list[str] = []
    final = EndOfStream(-1, DecodeReport())
    try:
        while not isinstance(item := out.get(20), EndOfStream):
            assert item is not None, "nothing came for 20 s"
            assert isinstance(item[0], Note)
            texts.append(item[0].text)
        final = item
    except Cancelled:
        pass
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return texts, final, errors


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(0, 40),
    size=st.integers(1, 7),
    workers=st.integers(1, 4),
    window=st.integers(1, 9),
    jitter=st.sampled_from([0.0, 0.001]),
)
def test_every_frame_comes_out_once_and_in_order(
    frames: int, size: int, workers: int, window: int, jitter: float
) -> None:
    stage = Work(Batching(size, 0.001, workers), jitter)
    texts, end, errors = run(Numbers(frames), stage, Window(records=window, at_least=1))
    assert not errors
    assert texts == [str(i) for i in range(frames)]
    assert end.frames == frames == sum(stage.sizes)
    assert max(stage.sizes, default=0) <= size
    assert stage.closed == 1


def test_a_stage_may_hold_frames_back_until_the_end() -> None:
    texts, end, errors = run(Numbers(5), Holding())
    assert (texts, end.frames, errors) == (["0", "1", "2", "3", "4"], 5, [])


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Work(wrong="raise"), "failed at frame 0: ZeroDivisionError: by nought"),
        (Work(wrong="short"), "answered 1 frames with 0 messages"),
        (Work(wrong="shift"), "emitted frame 1 where 0 was due"),
        (Holding(lose=2), "worked 8 of 10 frames"),
    ],
    ids=["raises", "answers too few", "numbers wrongly", "loses frames it held"],
)
def test_a_stage_that_breaks_its_contract_fails_the_run_and_says_how(stage: Work, expected: str) -> None:
    source = Numbers(10)
    _, _, errors = run(source, stage)
    assert any(isinstance(e, StageFailed) and expected in str(e) for e in errors)
    assert stage.closed == source.closed == 1


def test_a_failing_source_reaches_everyone_as_the_cause() -> None:
    texts, _, errors = run(Numbers(10, fail_at=4), Work(Batching(1, 0, 2)))
    assert any(isinstance(e, SourceNotFound) for e in errors)
    assert texts == [str(i) for i in range(len(texts))]


def test_a_stage_that_is_not_concurrent_gets_no_second_worker() -> None:
    stage = Holding()
    stage._batching = Batching(workers=2)
    _, _, errors = run(Numbers(2), stage)
    assert any("not concurrent" in str(e) for e in errors)


def test_join_passes_over_repeats_and_refuses_gaps() -> None:
    def header(i: int) -> FrameHeader:
        return FrameHeader(index=i, pts=i, time_base=Fraction(1, 25), width=2, height=2)

    bus = MemoryBus()
    reader = JoinedReader([bus.reader("a", "j"), bus.reader("b", "j")])
    for i in (0, 0, 1, 1, 2):
        bus.writer("a").put(Note(header(i), "a"))
    for i in (0, 1, 3):
        bus.writer("b").put(Note(header(i), "b"))
    assert [reader.get(0)[0].header.index for _ in range(2)] == [0, 1]  # type: ignore[index]
    with pytest.raises(StageFailed, match="continues at frame 3 where frame 2 was due"):
        reader.get(0)


def test_join_refuses_inputs_that_end_apart() -> None:
    bus = MemoryBus()
    reader = JoinedReader([bus.reader("a", "j"), bus.reader("b", "j")])
    bus.writer("a").put(EndOfStream(0, DecodeReport()))
    header = FrameHeader(index=0, pts=0, time_base=Fraction(1, 25), width=2, height=2)
    bus.writer("b").put(Note(header, "b"))
    with pytest.raises(StageFailed, match="inputs disagree"):
        reader.get(0)
