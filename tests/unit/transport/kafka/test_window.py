"""The window's arithmetic: nothing is reclaimed that somebody needs, and nobody waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.transport.kafka.window import (
    Footprint,
    Ledger,
    Place,
    Trail,
    first_gone,
    raw_window,
    reclaimable,
    slowest_index,
)
from posetask.transport.memory import Window


@given(
    st.integers(1, 4), st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=1, max_size=4)
)
def test_the_slowest_index_is_the_first_frame_that_some_group_needs(
    total: int, done: list[list[int]]
) -> None:
    groups = [{p: Place(n[p], p + n[p] * total) for p in range(total) if n[p]} for n in done]
    needed = {p + k * total for n in done for p in range(total) for k in range(n[p], 31)}
    assert slowest_index(groups, total) == min(needed)


@given(
    st.lists(st.none() | st.integers(0, 20), min_size=1, max_size=4),
    st.integers(0, 20),
)
def test_reclaiming_keeps_what_anyone_needs_and_the_last_record(
    committed: list[int | None], high: int
) -> None:
    groups = [{0: None if c is None else Place(min(c, high), min(c, high))} for c in committed]
    below = reclaimable(groups, {0: high}).get(0, 0)
    assert below <= max(0, high - 1)
    assert all(below <= (place.offset if (place := g[0]) else 0) for g in groups)


def test_nothing_is_reclaimed_of_a_topic_that_nobody_reads() -> None:
    assert reclaimable([], {0: 9}) == {}


@given(st.integers(1, 9), st.integers(1, 500), st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_a_writer_with_a_reader_that_follows_never_stands_and_never_passes_the_window(
    records: int, nbytes: int, sizes: list[int]
) -> None:
    window, ledger, read = Window(records=records, nbytes=nbytes, at_least=1), Ledger(0, 0), 0
    sent: list[int] = []
    for index, size in enumerate(sizes):
        while not ledger.has_room(window, size):
            assert read < index, "it stands although everything is read"
            read += 1
            ledger.settle(read)
        ledger.sent(index, size)
        sent.append(size)
        assert index + 1 - read <= records
        assert sum(sent[read:]) < nbytes + size


def test_a_writer_that_restarts_counts_what_it_finds_as_large_as_the_frame_at_hand() -> None:
    ledger = Ledger(next_index=10, slowest=6)
    window = Window(records=100, nbytes=500, at_least=1)
    assert ledger.records == 4
    assert ledger.has_room(window, 100)
    assert not ledger.has_room(window, 125)
    ledger.settle(9)
    assert ledger.records == 1
    assert ledger.has_room(window, 125)
    ledger.settle(3)  # a place never goes back
    assert ledger.records == 1


@pytest.mark.parametrize(
    "metadata", ["", "not json", "[]", '{"next":1}', '{"next":-3,"starts":0}', '{"next":5,"starts":0}']
)
def test_metadata_of_a_stranger_counts_frames_by_offset(metadata: str) -> None:
    assert Place.parse(4, metadata, 1, 3) == Place(4, 13, 0)


def test_places_survive_their_metadata() -> None:
    place = Place(12, 37, 2)
    assert Place.parse(12, place.metadata(), 1, 3) == place


def test_two_segments_always_fit() -> None:
    window = raw_window(segment_frames=50, encoder_delay=10, batch=4, nbytes=1)
    assert window.records >= 2 * 50 + 10
    assert window.has_room(10 + 4 - 1, 10**9)


def test_the_footprint_grows_with_what_it_is_made_of() -> None:
    small = Footprint(window_bytes=2**20, bytes_per_second=1e6, check_seconds=5)
    assert small.bound == 2**20 + 8_000_000 + 2 * 16 * 2**20 + 8 * 2**20
    assert Footprint(2**20, 1e6, check_seconds=5, replication=3).bound == 3 * small.bound
    assert Footprint(2**20, 1e6, check_seconds=5, partitions=2).bound - small.bound == 2 * 16 * 2**20


@given(
    st.integers(1, 3),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 30),
    st.lists(st.integers(0, 24), min_size=1, max_size=3),
)
def test_a_frame_is_gone_where_no_record_of_it_is_left_and_only_there(
    partitions: int, start: int, sent: int, below: int, needed: list[int]
) -> None:
    """Frames 0 to 11 lie there from an earlier life, then those from ``start`` on that were sent again."""
    records: dict[int, list[int]] = {
        p: [i for i in range(12) if i % partitions == p] for p in range(partitions)
    }
    trails = {}
    for p in range(partitions):
        first = next(i for i in range(start, start + partitions) if i % partitions == p)
        trails[p] = Trail(first, partitions)
        for index in range(first, min(start + sent, 12), partitions):
            trails[p].landed(len(records[p]))
            records[p].append(index)
    low = {p: min(below, len(records[p])) for p in range(partitions)}
    groups = []
    for index in needed:
        next_of = {
            p: next(i for i in range(index, index + partitions) if i % partitions == p) for p in records
        }
        old = {p: (n - p) // partitions for p, n in next_of.items()}
        groups.append({p: Place(min(old[p], len(range(p, 12, partitions))), n) for p, n in next_of.items()})
    gone = first_gone(groups, low, trails)
    lost = [
        place.next_index
        for group in groups
        for p, place in group.items()
        if place.next_index in records[p]
        and place.next_index not in records[p][low[p] :]
        and (place.next_index < trails[p].start or records[p].count(place.next_index) == 2)  # else on its way
    ]
    assert gone == min(lost, default=None)
