"""The sequencer: whatever the partitions' order of arrival, frames come out once and in order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import StreamBroken
from posetask.transport.kafka.sequencer import Ahead, Sequencer
from posetask.transport.kafka.window import Place


def drain(sequencer: Sequencer[str]) -> list[object]:
    out: list[object] = []
    while (item := sequencer.take()) is not None:
        out.append(item)
    return out


@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**16), st.lists(st.integers(0, 39), max_size=6))
def test_any_interleaving_with_doubles_comes_out_once_in_order_and_ends_once(
    total: int, frames: int, seed: int, doubles: list[int]
) -> None:
    logs: list[list[int | None]] = [list(range(p, frames, total)) for p in range(total)]
    for i in doubles:  # a producer that restarted wrote from i on again
        if i < frames:
            log = logs[i % total]
            log.extend(range(i, frames, total))
    for log in logs:
        log.append(None)
    sequencer = Sequencer[str]("t", total, dict.fromkeys(range(total), 0))
    at, rng, out = [0] * total, random.Random(seed), []
    while any(at[p] < len(logs[p]) for p in range(total)):
        p = rng.choice([p for p in range(total) if at[p] < len(logs[p])])
        index = logs[p][at[p]]
        if index is None:
            sequencer.offer_end(p, frames)
        else:
            sequencer.offer(p, at[p], index, 1, f"f{index}")
        at[p] += 1
        if rng.random() < 0.5:
            out += drain(sequencer)
    out += drain(sequencer)
    assert out == [*((i, f"f{i}") for i in range(frames)), frames]
    assert sequencer.ended


def test_replicas_see_their_own_frames_in_order() -> None:
    sequencer = Sequencer[str]("t", 4, {1: 0, 3: 0})
    for index in (3, 1, 7, 5):
        sequencer.offer(index % 4, index // 4, index, 1, "")
    sequencer.offer_end(1, 8)
    sequencer.offer_end(3, 8)
    assert drain(sequencer) == [(1, ""), (3, ""), (5, ""), (7, ""), 8]


def test_a_gap_is_named_with_its_place() -> None:
    sequencer = Sequencer[str]("raw", 2, {0: 0, 1: 0})
    sequencer.offer(0, 0, 0, 1, "")
    with pytest.raises(
        StreamBroken, match=r"continues at frame 4 where frame 2 was due \(partition 0, offset 1\)"
    ):
        sequencer.offer(0, 1, 4, 1, "")


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ([(0, 3)], "ends at 3 frames, and frame 2 never came"),
        ([(0, 2), (1, 1)], "elsewhere later"),
        ([(0, 0)], "elsewhere later"),
    ],
)
def test_ends_that_disagree_are_refused(ends: list[tuple[int, int]], says: str) -> None:
    sequencer = Sequencer[str]("t", 2, {0: 0, 1: 0})
    sequencer.offer(0, 0, 0, 1, "")
    sequencer.offer(1, 0, 1, 1, "")
    for partition, frames in ends[:-1]:
        sequencer.offer_end(partition, frames)
    with pytest.raises(StreamBroken, match=says):
        sequencer.offer_end(*ends[-1])


def test_a_frame_in_the_wrong_partition_or_after_the_end_is_refused() -> None:
    sequencer = Sequencer[str]("t", 2, {0: 0, 1: 0})
    with pytest.raises(StreamBroken, match="frame 1 lies in partition 0"):
        sequencer.offer(0, 0, 1, 1, "")
    sequencer.offer_end(0, 0)
    with pytest.raises(StreamBroken, match="after its end"):
        sequencer.offer(0, 1, 0, 1, "")


def test_what_runs_ahead_is_paused_and_never_the_partition_of_the_next_frame() -> None:
    sequencer = Sequencer[str]("t", 2, {0: 0, 1: 0}, ahead=Ahead(records=4))
    for i in (1, 3, 5, 7):
        sequencer.offer(1, i // 2, i, 1, "")
    assert sequencer.take() is None
    assert sequencer.overfull() == [1]
    assert sequencer.overfull() == []
    for i in (0, 2):
        sequencer.offer(0, i // 2, i, 1, "")
    assert len(drain(sequencer)) == 4
    assert sequencer.drained() == [1]
    assert sequencer.overfull() == []


def test_what_runs_ahead_is_bounded_in_bytes_too() -> None:
    sequencer = Sequencer[str]("t", 2, {0: 0, 1: 0}, ahead=Ahead(records=64, nbytes=100))
    sequencer.offer(1, 0, 1, 100, "")
    assert sequencer.overfull() == [1]


def test_commits_move_each_partition_to_after_its_last_frame_done_and_never_past_the_end() -> None:
    sequencer = Sequencer[str]("t", 2, {0: 4, 1: 5})
    for offset, index in enumerate(range(4, 10)):
        sequencer.offer(index % 2, 10 + offset, index, 7, "")
    for p in (0, 1):
        sequencer.offer_end(p, 10)
    assert sequencer.commit(9) == {}  # nothing was handed out
    for _ in range(3):
        sequencer.take()
    assert sequencer.held == (3, 21)
    assert sequencer.commit(5) == {0: Place(11, 6, 1), 1: Place(12, 7, 1)}
    assert sequencer.commit(5) == {}
    assert sequencer.held == (1, 7)
    drain(sequencer)
    assert sequencer.commit(99) == {0: Place(15, 10, 1), 1: Place(16, 11, 1)}


def test_an_expired_beginning_is_passed_over_until_it_is_sent_again() -> None:
    sequencer = Sequencer[str]("t", 1, {0: 2}, skipping=[0])
    sequencer.offer(0, 60, 6, 1, "old")
    sequencer.offer_end(0, 8)
    assert sequencer.take() is None
    for i in range(1, 8):
        sequencer.offer(0, 61 + i, i, 1, "new")
    sequencer.offer_end(0, 8)
    assert drain(sequencer) == [*((i, "new") for i in range(2, 8)), 8]


def test_a_reader_whose_next_frame_expires_waits_for_it() -> None:
    sequencer = Sequencer[str]("t", 1, {0: 0})
    sequencer.offer(0, 0, 0, 1, "")
    assert sequencer.expired(0) == 1
    sequencer.offer(0, 9, 9, 1, "")
    sequencer.offer(0, 10, 1, 1, "again")
    assert drain(sequencer) == [(0, ""), (1, "again")]
