"""Frames that leave the broker under a run: sent again by a file, at any moment; never a silent gap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from posetask.errors import FramesExpired, KafkaUnavailable
from posetask.messages import DecodeReport, Detections, EndOfStream, Frame, FrameHeader
from posetask.transport import EmitAgain, Window
from posetask.transport.kafka import reader as reader_module
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config

pytestmark = pytest.mark.kafka
GROUPS = ("yolox", "annotator")


def header(index: int, run: str) -> FrameHeader:
    return FrameHeader(index, index * 512, Fraction(1, 12800), 16, 16, 512, 25.0, run=run)


def frame(index: int, run: str) -> Frame:
    return Frame(header(index, run), np.full((16, 16, 3), index % 256, np.uint8))


def end(frames: int) -> EndOfStream:
    return EndOfStream(frames, DecodeReport(frames_decoded=frames))


def indices(records: list[Any]) -> list[int]:
    return [r.frames if isinstance(r, EndOfStream) else r.header.index for r in records]


def read(reader: Any, count: int | None = None) -> list[Any]:
    """So many records, or up to the end, each committed."""
    out: list[Any] = []
    while count is None or len(out) < count:
        record = reader.get(30)
        assert record is not None, f"nothing came after {len(out)} records"
        out.append(record)
        if isinstance(record, EndOfStream):
            break
        reader.commit(record.header.index)
    reader.settle()
    return out


def expire(gate: Any, below: int, partition: int = 0) -> None:
    """What retention does, at a moment of our choice."""
    gate._reclaimer.delete({partition: below}, wait=True)


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture
def open_bus(settings: KafkaSettings, run: str) -> Iterator[Callable[..., KafkaBus]]:
    buses: list[KafkaBus] = []

    def make(**options: Any) -> KafkaBus:
        buses.append(
            KafkaBus(options.pop("settings", settings), run, **{"windows": {"raw_frames": GROUPS}, **options})
        )
        return buses[-1]

    yield make
    for bus in buses:
        bus.close()


@pytest.fixture(params=[1, 3])
def partitions(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def raw_frames(settings: KafkaSettings, run: str, partitions: int) -> Iterator[str]:
    admin, name = TopicAdmin(settings), topic_name("raw_frames", run)
    admin.create([TopicSpec(name, partitions, raw_config())])
    yield name
    admin.delete([name])


def write_on(open_bus: Callable[..., KafkaBus], run: str, frames: int, times: list[int]) -> None:
    """What a stage process does with a source of so many frames; notes where it had to begin anew."""
    while True:
        bus = open_bus()
        writer = bus.writer("raw_frames")
        times.append(writer.next_index)
        try:
            for index in range(frames):
                writer.put(frame(index, run))
            writer.put(end(frames))
            writer.flush()
            while not writer.attended(1.0):
                pass
            return
        except EmitAgain as gone:
            times.append(-gone.index)


def test_a_writer_at_its_full_window_sends_again_what_a_slow_reader_lost(
    open_bus: Callable[..., KafkaBus], raw_frames: str, run: str, partitions: int
) -> None:
    quick, slow = open_bus(), open_bus()
    writer = open_bus(window=Window(records=12)).writer("raw_frames")
    for index in range(12):
        writer.put(frame(index, run))
    writer.flush()
    read(quick.reader("raw_frames", "yolox"), 12)
    read(slow.reader("raw_frames", "annotator"), 2)
    slow.close()  # what it has fetched already, it would not miss
    for partition in range(partitions):
        expire(writer._gate, 12 // partitions, partition)

    def go_on() -> None:
        for index in range(12, 30):
            writer.put(frame(index, run))

    with pytest.raises(EmitAgain, match="frame 2 left the broker") as caught:
        go_on()
    assert caught.value.retryable
    times: list[int] = []
    again = threading.Thread(target=write_on, args=(open_bus, run, 20, times))
    again.start()
    quick.close()
    other = threading.Thread(target=read, args=(open_bus().reader("raw_frames", "yolox"),))
    other.start()
    assert indices(read(open_bus().reader("raw_frames", "annotator"))) == [*range(2, 20), 20]
    for thread in (other, again):
        thread.join(30)
        assert not thread.is_alive()
    assert times == [2], "what lies there again is not sent a third time"


def test_a_writer_stays_after_the_end_until_all_have_read_and_sends_again_what_left_before(
    open_bus: Callable[..., KafkaBus], raw_frames: str, run: str, partitions: int
) -> None:
    quick = open_bus().reader("raw_frames", "yolox")
    writer = open_bus(window=Window(records=100)).writer("raw_frames")
    for index in range(9):
        writer.put(frame(index, run))
    writer.put(end(9))
    writer.flush()
    assert indices(read(quick)) == [*range(9), 9]
    assert not writer.attended(0.3)
    for partition in range(partitions):
        expire(writer._gate, 9 // partitions + 1, partition)  # the end, too: as after a long suspension
    with pytest.raises(EmitAgain, match="frame 0 left"):
        writer.attended(10)
    times: list[int] = []
    again = threading.Thread(target=write_on, args=(open_bus, run, 9, times))
    again.start()
    assert indices(read(open_bus().reader("raw_frames", "annotator"))) == [*range(9), 9]
    again.join(30)
    assert not again.is_alive()
    assert times == [0]
    third = open_bus().writer("raw_frames")
    assert (third.next_index, third.frames, third.reach) == (9 + partitions - 1 - (9 - 1) % partitions, 9, 9)
    assert third.attended(5)


def test_a_stream_that_ended_early_is_sent_again_with_the_same_length(
    open_bus: Callable[..., KafkaBus], raw_frames: str, run: str, partitions: int
) -> None:
    quick = open_bus().reader("raw_frames", "yolox")
    first = open_bus(window=Window(records=100)).writer("raw_frames")
    for index in range(6):
        first.put(frame(index, run))
    first.put(end(6))
    first.flush()
    read(quick)
    for partition in range(partitions):
        expire(first._gate, 6 // partitions, partition)
    second = open_bus().writer("raw_frames")
    assert (second.next_index, second.reach, second.frames) == (0, 6, 6)


def test_a_writer_that_died_while_it_sent_again_still_knows_how_far_the_stream_was(
    open_bus: Callable[..., KafkaBus], raw_frames: str, run: str, partitions: int
) -> None:
    first = open_bus(window=Window(records=100)).writer("raw_frames")
    for index in range(9):
        first.put(frame(index, run))
    first.flush()
    read(open_bus().reader("raw_frames", "yolox"), 9)
    for partition in range(partitions):
        expire(first._gate, 9 // partitions, partition)
    second = open_bus().writer("raw_frames")
    assert (second.next_index, second.reach) == (0, 9)
    for index in range(3):
        second.put(frame(index, run))
    second.flush()
    third = open_bus().writer("raw_frames")
    assert (third.next_index, third.reach, third.frames) == (0, 9, None)


def test_results_that_left_the_broker_are_never_waited_for(
    open_bus: Callable[..., KafkaBus], settings: KafkaSettings, run: str
) -> None:
    name = topic_name("yolox", run)
    admin = TopicAdmin(settings)
    admin.create([TopicSpec(name, 1, result_config(keep_seconds=600))])
    writer = open_bus().writer("yolox")
    for index in range(6):
        writer.put(Detections.empty(header(index, run)))
    writer.flush()
    from confluent_kafka import TopicPartition

    admin.client.delete_records([TopicPartition(name, 0, 4)])[TopicPartition(name, 0, 4)].result(20)
    with pytest.raises(FramesExpired, match="frame 0"):
        open_bus().reader("yolox", "rtmpose")
    admin.delete([name])


@pytest.mark.parametrize("partitions", [1], indirect=True)
def test_a_frame_that_nobody_sends_again_is_not_waited_for_without_end(
    open_bus: Callable[..., KafkaBus], raw_frames: str, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "AGAIN_SECONDS", 1.0)
    writer = open_bus().writer("raw_frames")
    for index in range(4):
        writer.put(frame(index, run))
    writer.flush()
    expire(writer._gate, 4)
    reader = open_bus().reader("raw_frames", "yolox")
    begin = time.monotonic()
    with pytest.raises(FramesExpired, match=r"frame 0 .* was not sent again"):
        reader.get(60)
    assert time.monotonic() - begin >= 1.0


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("partitions", [1], indirect=True)
def test_a_writer_at_its_full_window_fails_where_the_brokers_stay_away(
    make_broker: Callable[..., Any], run: str, partitions: int
) -> None:
    own = make_broker()
    settings = KafkaSettings(bootstrap=own.bootstrap, delivery_timeout_ms=3_000)
    TopicAdmin(settings).create([TopicSpec(topic_name("raw_frames", run), 1, raw_config())])
    bus = KafkaBus(settings, run, windows={"raw_frames": GROUPS}, window=Window(records=4, at_least=1))
    try:
        writer = bus.writer("raw_frames")
        for index in range(4):
            writer.put(frame(index, run))
        writer.flush()
        own.command("stop")
        with pytest.raises(KafkaUnavailable, match="no broker answered for 3 s") as caught:
            writer.put(frame(4, run))
        assert (caught.value.retryable, caught.value.exit_code) == (True, 30)
    finally:
        bus.close()
