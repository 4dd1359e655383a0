"""The memory bus: order, every group sees everything, the window holds, nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetask.messages import DecodeReport, EndOfStream, Frame, FrameHeader
from posetask.transport import Cancelled, MemoryBus, Window


def frame(index: int, side: int = 2) -> Frame:
    header = FrameHeader(index=index, pts=index, time_base=Fraction(1, 25), width=side, height=side)
    return Frame(header, np.zeros((side, side, 3), np.uint8))


def end(frames: int) -> EndOfStream:
    return EndOfStream(frames, DecodeReport(frames_decoded=frames))


def test_every_group_gets_the_very_same_objects_in_order() -> None:
    bus = MemoryBus(Window(records=8))
    readers = [bus.reader("t", name) for name in ("a", "b")]
    frames = [frame(i) for i in range(3)]
    for f in frames:
        bus.writer("t").put(f)
    for reader in readers:
        assert all(reader.get(0) is f for f in frames)
        assert reader.get(0) is None


def test_a_record_leaves_memory_when_the_slowest_group_took_it() -> None:
    bus = MemoryBus(Window(records=8))
    fast, slow = bus.reader("t", "fast"), bus.reader("t", "slow")
    for i in range(3):
        bus.writer("t").put(frame(i))
        fast.get(0)
    assert bus.held()["t"] == (3, 3 * 12)
    slow.get(0)
    assert bus.held()["t"] == (2, 2 * 12)


def test_writer_waits_at_the_window_and_goes_on_when_a_record_is_taken() -> None:
    bus = MemoryBus(Window(records=2, at_least=1))
    reader = bus.reader("t", "a")
    done = threading.Event()

    def write() -> None:
        for i in range(3):
            bus.writer("t").put(frame(i))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert not done.wait(0.1)
    reader.get(1)
    assert done.wait(5)
    thread.join()


@pytest.mark.parametrize("waiter", ["reader", "writer"])
def test_cancel_wakes_whoever_waits_and_names_the_cause(waiter: str) -> None:
    bus = MemoryBus(Window(records=1, at_least=1))
    reader = bus.reader("t", "a")
    writer = bus.writer("t")
    if waiter == "writer":
        writer.put(frame(0))
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            reader.get() if waiter == "reader" else writer.put(frame(1))
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    cause = RuntimeError("disk on fire")
    bus.cancel(cause)
    bus.cancel(RuntimeError("a later one"))
    thread.join(5)
    assert caught
    assert caught[0].__cause__ is cause


@pytest.mark.parametrize(
    "late",
    [
        lambda bus: bus.reader("t", "a"),
        lambda bus: (bus.writer("u").put(frame(0)), bus.reader("u", "a")),
    ],
    ids=["twice the same group", "after the first record"],
)
def test_a_group_joins_once_and_before_the_first_record(late: Callable[[MemoryBus], object]) -> None:
    bus = MemoryBus()
    bus.reader("t", "a")
    with pytest.raises(ValueError, match="cannot join"):
        late(bus)


def test_a_topic_that_nobody_reads_holds_nothing() -> None:
    bus = MemoryBus(Window(records=1, at_least=1))
    for i in range(10):
        bus.writer("t").put(frame(i))
    assert bus.held()["t"] == (0, 0)


@settings(max_examples=30, deadline=None)
@given(
    records=st.integers(1, 6),
    nbytes=st.integers(0, 100),
    at_least=st.integers(1, 4),
    sides=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    groups=st.integers(1, 3),
)
def test_whatever_the_window_all_arrives_in_order_within_it(
    records: int, nbytes: int, at_least: int, sides: list[int], groups: int
) -> None:
    window = Window(records, nbytes, at_least)
    bus = MemoryBus(window)
    readers = [bus.reader("t", str(g)) for g in range(groups)]
    seen: list[list[int]] = [[] for _ in readers]
    most = 0

    def read(g: int) -> None:
        nonlocal most
        while not isinstance(record := readers[g].get(5), EndOfStream):
            assert record is not None
            seen[g].append(record.header.index)
            most = max(most, bus.held()["t"][0])

    threads = [threading.Thread(target=read, args=(g,)) for g in range(groups)]
    for thread in threads:
        thread.start()
    for i, side in enumerate(sides):
        bus.writer("t").put(frame(i, side))
    bus.writer("t").put(end(len(sides)))
    for thread in threads:
        thread.join()
    assert seen == [list(range(len(sides)))] * groups
    assert most <= max(records, at_least)


def test_both_ends_say_which_frame_is_next() -> None:
    bus = MemoryBus(Window(records=8))
    reader, writer = bus.reader("t", "a"), bus.writer("t")
    assert (writer.next_index, reader.next_index) == (0, 0)
    writer.put(frame(0))
    writer.put(end(1))
    assert (writer.next_index, reader.next_index) == (1, 0)
    reader.get(0)
    assert reader.get(0) == end(1)
    assert (writer.next_index, reader.next_index) == (1, 1)


def test_a_closed_bus_lets_nobody_wait() -> None:
    bus = MemoryBus()
    reader = bus.reader("t", "a")
    bus.close()
    with pytest.raises(Cancelled):
        reader.get()
