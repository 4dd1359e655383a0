"""A stage that dies at any moment and is run anew: every frame once, in order, with the same answer."""

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
from posetask.runtime import StageRunner
from posetask.stages import Batching, Stage, StageContext, StageParameters
from posetask.transport.bus import Record, Share


@dataclass(frozen=True)
class Note:
    header: FrameHeader
    text: str


def note(index: int, text: str) -> Note:
    return Note(FrameHeader(index=index, pts=index, time_base=Fraction(1, 25), width=2, height=2), text)


class Killed(BaseException):
    """The process dies here: nothing after it happens."""


@dataclass
class Topic:
    """Records that outlive a process, and the place where its one group committed."""

    records: list[Record] = field(default_factory=list)
    place: int = 0
    starts: int = 0
    quarantined: list[int] = field(default_factory=list)

    def texts(self) -> list[str]:
        return [record.text for record in self.records if isinstance(record, Note)]


class TopicWriter:
    def __init__(self, topic: Topic, lives: int) -> None:
        self.topic, self.left = topic, lives

    @property
    def next_index(self) -> int:
        return len(self.topic.texts())

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
        if (
            isinstance(record, EndOfStream)
            and self.topic.records
            and isinstance(self.topic.records[-1], EndOfStream)
        ):
            return
        if quarantined:
            self.topic.quarantined.append(record.header.index)  # type: ignore[union-attr]
        self.topic.records.append(record)

    def flush(self) -> None:
        return


class TopicReader:
    def __init__(self, topic: Topic, begin: int) -> None:
        self.topic, self.position = topic, begin
        topic.starts += 1
        self.starts = topic.starts
        self.share = Share()

    @property
    def next_index(self) -> int:
        return self.position

    def get(self, timeout: float | None = None) -> Record | None:
        self.position += 1
        return self.topic.records[self.position - 1]

    def commit(self, index: int) -> None:
        if index + 1 > self.topic.place:
            self.topic.place, self.topic.starts = index + 1, 1


class Echo(Stage[StageParameters]):
    """Answers with what it read; the frame ``poison`` kills the process."""

    name = "echo"
    description = "tests"
    port = 8199
    inputs: Any = ("a", "b")
    output: Any = "notes"
    Parameters = StageParameters
    concurrent: Any = True
    poison = -1
    size = 3

    def __init__(self) -> None:
        super().__init__(StageParameters(), StageContext())
        self.batches: list[int] = []
        self.dead = False

    @property
    def batching(self) -> Batching:
        return Batching(self.size, 0.0, 1)

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        self.batches.append(len(batch))
        self.dead |= any(inputs[0].header.index == self.poison for inputs in batch)
        if self.dead:
            raise Killed
        return [note(inputs[0].header.index, "+".join(i.text for i in inputs)) for inputs in batch]

    def empty(self, inputs: tuple[Any, ...]) -> Message | None:
        return note(inputs[0].header.index, "given up")


class Sum(Echo):
    """Has state: the sum of all it has seen."""

    name = "sum"
    replays: Any = ("a", "b")
    concurrent = False

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        out: list[Message] = []
        for inputs in batch:
            self.total += int(inputs[0].text)
            out.append(note(inputs[0].header.index, str(self.total)))
        return out


def filled(frames: int, prefix: str = "") -> Topic:
    end = EndOfStream(frames, DecodeReport(frames_decoded=frames))
    return Topic([*(note(i, f"{prefix}{i}") for i in range(frames)), end])


def live(stage: Echo, topics: Sequence[Topic], out: Topic, puts: int) -> bool:
    """One life of the stage, which dies after so many puts; whether it reached the end."""
    readers = [
        TopicReader(topic, 0 if name in stage.replays else topic.place)
        for name, topic in zip(stage.inputs, topics, strict=True)
    ]
    runner = StageRunner(stage, readers, TopicWriter(out, puts))
    try:
        runner.run()
    except Killed:
        return False
    return runner.progress.done


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(0, 25),
    lives=st.lists(st.integers(0, 9), max_size=6),
    stateful=st.booleans(),
    lag=st.integers(0, 4),
)
def test_killed_at_any_put_it_goes_on_and_nothing_is_lost_or_doubled(
    frames: int, lives: list[int], stateful: bool, lag: int
) -> None:
    topics, out = [filled(frames), filled(frames)], Topic()
    for puts in lives:
        if live(Sum() if stateful else Echo(), topics, out, puts):
            break
        topics[0].place = max(0, topics[0].place - lag)  # commits trail what was done, each for itself
        for topic in topics:
            topic.starts = 0
    else:
        assert live(Sum() if stateful else Echo(), topics, out, 10**6)
    expected = [sum(range(i + 1)) for i in range(frames)] if stateful else [f"{i}+{i}" for i in range(frames)]
    assert out.texts() == [str(text) for text in expected]
    assert isinstance(out.records[-1], EndOfStream)


def test_a_frame_that_kills_is_found_and_given_up_and_all_others_are_worked() -> None:
    topics, out, lives, stage = [filled(20), filled(20)], Topic(), 0, Echo()
    while True:
        stage = Echo()
        stage.poison, lives = 7, lives + 1
        if live(stage, topics, out, 10**6):
            break
        assert lives < 6, "it never got past the frame"
    assert out.quarantined == [7]
    assert out.texts() == [f"{i}+{i}" if i != 7 else "given up" for i in range(20)]
    assert lives == 4, "dies in a batch, dies alone on the frame, dies a second time there, gives it up"


def test_where_the_process_before_died_frames_go_one_by_one() -> None:
    topics, out, stage = [filled(20), filled(20)], Topic(), Echo()
    for topic in topics:
        topic.starts = 1
    assert live(stage, topics, out, 10**6)
    assert set(stage.batches) == {1}
    assert out.quarantined == []


class Store(Echo):
    """Keeps its own results, two frames at a time."""

    name = "store"
    output = None
    replays: Any = ("b",)
    concurrent = False

    def __init__(self, kept: list[str], die_at: int = -1) -> None:
        super().__init__()
        self.kept, self.held, self.recalled, self.poison = kept, [], [], die_at  # type: ignore[var-annotated]

    @property
    def kept_index(self) -> int:
        return len(self.kept)

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        self.held += [m.text for m in super().process(batch)]  # type: ignore[attr-defined]
        while len(self.held) >= 2:
            self.kept += [self.held.pop(0), self.held.pop(0)]
        return ()

    def finish(self, end: EndOfStream) -> Sequence[Message]:
        self.kept += self.held
        return ()

    def recall(self, inputs: tuple[Any, ...]) -> None:
        self.recalled.append(inputs[0].text)


@pytest.mark.parametrize("die_at", [0, 3, 8])
def test_a_stage_with_a_store_commits_what_is_stored_and_recalls_the_rest(die_at: int) -> None:
    topics, kept = [filled(11, "a"), filled(11, "b")], list[str]()
    for stage in (Store(kept, die_at), Store(kept)):
        readers = [TopicReader(topics[0], topics[0].place), TopicReader(topics[1], 0)]
        before = len(kept)
        try:
            StageRunner(stage, readers, None).run()
        except Killed:
            assert topics[0].place <= len(kept)
    assert kept == [f"a{i}+b{i}" for i in range(11)]
    assert stage.recalled == [f"b{i}" for i in range(before)]
    assert topics[0].place == 11


def test_inputs_committed_beyond_the_output_are_a_broken_stream() -> None:
    topics, out = [filled(9), filled(9)], Topic([note(0, "0+0")])
    topics[0].place = topics[1].place = 5
    with pytest.raises(StageFailed, match="continues at frame 5 where frame 1 was due"):
        live(Echo(), topics, out, 10**6)
