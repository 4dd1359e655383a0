"""Replicas of a stage: each works its share, dies and resumes for itself, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetask.errors import StageFailed
from posetask.messages import DecodeReport, EndOfStream, FrameHeader, Message
from posetask.runtime import JoinedReader, StageRunner
from posetask.stages import Batching, Stage, StageContext, StageParameters
from posetask.transport.bus import Record, Share


@dataclass(frozen=True)
class Word:
    header: FrameHeader
    text: str


def word(index: int, text: str) -> Word:
    return Word(FrameHeader(index=index, pts=index, time_base=Fraction(1, 25), width=2, height=2), text)


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Lanes:
    """What outlives the processes: words by frame, ends by replica, and each replica's place and starts."""

    words: dict[int, str] = field(default_factory=dict)
    ends: dict[Share, int] = field(default_factory=dict)
    places: dict[Share, int] = field(default_factory=dict)
    starts: dict[Share, int] = field(default_factory=dict)
    quarantined: list[int] = field(default_factory=list)


class LaneWriter:
    def __init__(self, lanes: Lanes, share: Share, lives: int) -> None:
        self.lanes, self.share, self.left = lanes, share, lives

    @property
    def next_index(self) -> int:
        index = self.share.first()
        while index in self.lanes.words:
            index = self.share.first(index + 1)
        return index

    @property
    def reach(self) -> int:
        return self.next_index

    @property
    def frames(self) -> int | None:
        return None

    def attended(self, timeout: float) -> bool:
        return True

    def put(self, record: Record, *, quarantined: bool = False) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        if isinstance(record, EndOfStream):
            self.lanes.ends[self.share] = record.frames
            return
        assert isinstance(record, Word)
        index = record.header.index
        assert index not in self.lanes.words, "doubled"
        assert index % self.share.of in self.share.parts, "somebody else's"
        self.lanes.words[index] = record.text
        if quarantined:
            self.lanes.quarantined.append(index)

    def flush(self) -> None:
        return


class LaneReader:
    def __init__(self, lanes: Lanes, share: Share, frames: int, lag: int) -> None:
        self.lanes, self.share, self.frames = lanes, share, frames
        self.next_index = share.first(max(0, lanes.places.get(share, 0) - lag))
        self.starts = lanes.starts[share] = lanes.starts.get(share, 0) + 1

    def get(self, timeout: float | None = None) -> Record | None:
        index, self.next_index = self.next_index, self.share.first(self.next_index + 1)
        if index >= self.frames:
            return EndOfStream(self.frames, DecodeReport(frames_decoded=self.frames))
        return word(index, str(index))

    def commit(self, index: int) -> None:
        done = self.share.first(index + 1)
        if done > self.lanes.places.get(self.share, -1):
            self.lanes.places[self.share], self.lanes.starts[self.share] = done, 1


class Same(Stage[StageParameters]):
    """Says what it reads; the frame ``poison`` kills the process."""

    name, description, port, inputs, output = "same", "tests", 8198, ("a", "b"), "words"
    Parameters = StageParameters
    concurrent = True
    poison = -1

    def __init__(self) -> None:
        super().__init__(StageParameters(), StageContext())

    @property
    def batching(self) -> Batching:
        return Batching(3, 0.0, 1)

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        if any(inputs[0].header.index == self.poison for inputs in batch):
            raise Killed
        return [word(inputs[0].header.index, "+".join(i.text for i in inputs)) for inputs in batch]

    def empty(self, inputs: tuple[Any, ...]) -> Message | None:
        return word(inputs[0].header.index, "given up")


def live(
    lanes: Lanes, share: Share, frames: int, puts: int, *, lags: tuple[int, int] = (0, 0), poison: int = -1
) -> StageRunner | None:
    stage = Same()
    stage.poison = poison
    readers = [LaneReader(lanes, share, frames, lag) for lag in lags]
    for reader in readers:  # one process, one start
        reader.starts = readers[0].starts
    runner = StageRunner(stage, readers, LaneWriter(lanes, share, puts))
    try:
        runner.run()
    except Killed:
        return None
    return runner


def shares(replicas: int, partitions: int) -> list[Share]:
    mine = [[p for p in range(partitions) if p % replicas == r] for r in range(replicas)]
    return [Share.of_partitions(partitions, parts) for parts in mine]


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(0, 25),
    replicas=st.integers(1, 4),
    more=st.integers(0, 2),
    lives=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), max_size=6),
    lags=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_replicas_killed_at_any_put_work_every_frame_once(
    frames: int, replicas: int, more: int, lives: list[tuple[int, int]], lags: tuple[int, int]
) -> None:
    lanes, every = Lanes(), shares(replicas, replicas + more)
    for number, puts in lives:
        live(lanes, every[number % replicas], frames, puts, lags=lags)
        lanes.starts.clear()
    runners = [live(lanes, share, frames, 10**6, lags=lags) for share in every]
    assert lanes.words == {i: f"{i}+{i}" for i in range(frames)}
    assert lanes.ends == dict.fromkeys(every, frames)
    assert all(runner is not None and runner.progress.done for runner in runners)
    assert sum(runner.progress.frames for runner in runners if runner is not None) == frames


@pytest.mark.parametrize("poison", [0, 7, 10])
def test_a_frame_that_kills_one_replica_is_given_up_there_and_the_other_never_notices(poison: int) -> None:
    lanes, every = Lanes(), shares(2, 2)
    lives = [0, 0]
    for number, share in enumerate(every):
        while live(lanes, share, 20, 10**6, poison=poison) is None:
            lives[number] += 1
            assert lives[number] < 6, "it never got past the frame"
        lanes.starts[share] = 0
    assert lanes.words == {i: f"{i}+{i}" if i != poison else "given up" for i in range(20)}
    assert lanes.quarantined == [poison]
    assert lives[1 - poison % 2] == 0


def test_inputs_that_are_not_shared_out_alike_are_refused() -> None:
    lanes = Lanes()
    readers = [LaneReader(lanes, share, 9, 0) for share in (Share(2, (1,)), Share(4, (1, 3)))]
    with pytest.raises(StageFailed, match="not shared out alike"):
        JoinedReader(readers)


def test_a_replica_that_stops_short_is_a_broken_contract() -> None:
    readers = [LaneReader(Lanes(), Share(2, (1,)), 9, 0)]
    readers[0].frames = 5
    joined = JoinedReader(readers)
    assert [joined.get(0)[0].header.index for _ in range(2)] == [1, 3]  # type: ignore[index]
    readers[0].frames = 4
    assert joined.get(0) == EndOfStream(4, DecodeReport(frames_decoded=4))
    short = JoinedReader([LaneReader(Lanes(), Share(2, (1,)), 1, 0)], 3)
    with pytest.raises(StageFailed, match="ends at frame 1 where frame 3 was due"):
        short.get(0)
