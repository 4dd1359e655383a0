"""The bus over a real broker: order, once each, resume, flow control, and every way it can fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from posetask.errors import (
    FramesExpired,
    KafkaAccessDenied,
    KafkaRefused,
    KafkaUnavailable,
    MalformedRecord,
    RecordTooLarge,
    StreamBroken,
    TopicLost,
)
from posetask.messages import DecodeReport, Detections, EndOfStream, Frame, FrameHeader
from posetask.messages.wire import encode
from posetask.transport import Cancelled, Window
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.names import Replica, group_name, topic_name
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config

pytestmark = pytest.mark.kafka


def header(index: int, run: str, side: int = 16) -> FrameHeader:
    return FrameHeader(index, index * 512, Fraction(1, 12800), side, side, 512, 25.0, run=run)


def frame(index: int, run: str, side: int = 16, noise: bool = False) -> Frame:
    image = np.full((side, side, 3), index % 256, np.uint8)
    if noise:
        image = np.random.default_rng(index).integers(0, 255, image.shape, np.uint8)
    return Frame(header(index, run, side), image)


def end(frames: int) -> EndOfStream:
    return EndOfStream(frames, DecodeReport(frames_decoded=frames))


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture
def admin(settings: KafkaSettings) -> TopicAdmin:
    return TopicAdmin(settings)


@pytest.fixture
def open_bus(settings: KafkaSettings, run: str) -> Iterator[Callable[..., KafkaBus]]:
    buses: list[KafkaBus] = []

    def make(**options: Any) -> KafkaBus:
        buses.append(KafkaBus(options.pop("settings", settings), run, **options))
        return buses[-1]

    yield make
    for bus in buses:
        bus.close()


@pytest.fixture
def topics(admin: TopicAdmin, run: str) -> Iterator[Callable[..., list[str]]]:
    made: list[str] = []

    def make(*names: str, partitions: int = 1, config: dict[str, str] | None = None) -> list[str]:
        full = [topic_name(name, run) for name in names]
        made.extend(full)
        admin.create(
            [TopicSpec(name, partitions, config or result_config(keep_seconds=600)) for name in full]
        )
        return full

    yield make
    admin.delete(made)


def read_all(reader: Any, *, commit: bool = True, until: int | None = None) -> list[Any]:
    out: list[Any] = []
    while True:
        record = reader.get(20)
        assert record is not None, f"nothing came after {len(out)} records"
        out.append(record)
        if isinstance(record, EndOfStream):
            return out
        if commit:
            reader.commit(record.header.index)
        if until is not None and len(out) == until:
            return out


def watermarks(settings: KafkaSettings, topic: str, partition: int = 0) -> tuple[int, int]:
    consumer = Consumer(settings.consumer("look"))
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
    consumer.close()
    return low, high


def high_watermarks(settings: KafkaSettings, topic: str, partitions: int) -> list[int]:
    return [watermarks(settings, topic, p)[1] for p in range(partitions)]


def indices(records: Sequence[Any]) -> list[int]:
    return [r.frames if isinstance(r, EndOfStream) else r.header.index for r in records]


@pytest.mark.parametrize("partitions", [1, 3])
def test_frames_arrive_once_in_order_with_the_end(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str, partitions: int
) -> None:
    topics("raw_frames", partitions=partitions)
    writer, reader = open_bus().writer("raw_frames"), open_bus().reader("raw_frames", "yolox")
    for i in range(50):
        writer.put(frame(i, run))
    writer.put(end(50))
    writer.flush()
    got = read_all(reader)
    assert indices(got) == [*range(50), 50]
    assert got[7].header == header(7, run)
    assert abs(int(got[7].image.mean()) - 7) <= 1
    assert not got[7].image.flags.writeable
    assert reader.get(0.2) is None


def test_two_replicas_share_the_frames_and_each_writes_its_own_partitions(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str
) -> None:
    topics("raw_frames", "yolox", partitions=3)
    source = open_bus().writer("raw_frames")
    for i in range(20):
        source.put(frame(i, run))
    source.put(end(20))
    source.flush()
    for number in (0, 1):
        bus = open_bus(replica=Replica(number, 2))
        reader, writer = bus.reader("raw_frames", "yolox"), bus.writer("yolox")
        for record in read_all(reader):
            writer.put(record if isinstance(record, EndOfStream) else Detections.empty(record.header))
        writer.flush()
    assert indices(read_all(open_bus().reader("yolox", "rtmpose"))) == [*range(20), 20]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_reader_that_starts_anew_goes_on_at_its_committed_place(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str, partitions: int
) -> None:
    topics("yolox", partitions=partitions)
    writer = open_bus().writer("yolox")
    for i in range(20):
        writer.put(Detections.empty(header(i, run)))
    writer.put(end(20))
    writer.flush()
    first = open_bus().reader("yolox", "rtmpose")
    assert first.starts == 1
    read_all(first, commit=False, until=9)
    first.commit(6)
    first.settle()
    second = open_bus().reader("yolox", "rtmpose")
    assert (second.next_index, second.starts) == (7, 2)
    assert second.get(10).header.index == 7  # and dies without a commit
    third = open_bus().reader("yolox", "rtmpose")
    assert (third.next_index, third.starts) == (7, 3)
    assert indices(read_all(third)) == [*range(7, 20), 20]
    fourth = open_bus().reader("yolox", "rtmpose")
    assert indices(read_all(fourth)) == [20]
    replay = open_bus(replay=["yolox"]).reader("yolox", "rtmpose")
    assert indices(read_all(replay)) == [*range(20), 20]
    assert open_bus().reader("yolox", "rtmpose").next_index == 20  # replaying took nothing back


def test_a_process_that_leaves_in_good_order_is_not_counted_as_a_crash(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str
) -> None:
    topics("yolox")
    writer = open_bus().writer("yolox")
    for i in range(4):
        writer.put(Detections.empty(header(i, run)))
    writer.flush()
    for _ in range(3):
        reader = open_bus().reader("yolox", "rtmpose")
        assert (reader.starts, reader.get(10).header.index) == (1, 0)
        reader.forgive()
    assert reader.nbytes > 0
    assert reader.lag <= 3
    reader.commit(0)
    reader.settle()
    assert open_bus().reader("yolox", "rtmpose").starts == 2  # it went on, and its place says so


def test_a_reader_that_only_started_is_not_counted_as_a_crash(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]]
) -> None:
    topics("yolox")
    for _ in range(3):
        assert open_bus().reader("yolox", "rtmpose").starts == 1


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_writer_that_starts_anew_goes_on_after_what_is_there(
    open_bus: Callable[..., KafkaBus],
    topics: Callable[..., list[str]],
    settings: KafkaSettings,
    run: str,
    partitions: int,
) -> None:
    topics("yolox", partitions=partitions)
    writer = open_bus().writer("yolox")
    for i in range(10):
        writer.put(Detections.empty(header(i, run)))
    writer.flush()
    again = open_bus().writer("yolox")
    assert again.next_index == 10
    for i in range(5, 15):
        again.put(Detections.empty(header(i, run)))
    again.put(end(15))
    again.flush()
    assert again.acknowledged == again.next_index == 15
    third = open_bus().writer("yolox")
    assert third.next_index == 15
    third.put(end(15))
    third.flush()
    assert sum(high_watermarks(settings, topic_name("yolox", run), partitions)) == 15 + partitions
    assert indices(read_all(open_bus().reader("yolox", "rtmpose"))) == [*range(15), 15]


def test_a_commit_waits_for_the_output_of_the_same_stage(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str
) -> None:
    topics("raw_frames", "yolox")
    source = open_bus().writer("raw_frames")
    for i in range(4):
        source.put(frame(i, run))
    source.flush()
    bus = open_bus()
    reader, writer = bus.reader("raw_frames", "yolox"), bus.writer("yolox")
    read_all(reader, commit=False, until=4)
    writer.put(Detections.empty(header(0, run)))
    writer.flush()
    reader.commit(3)  # too early: frames 1 to 3 are not in the output
    reader.settle()
    assert open_bus().reader("raw_frames", "yolox").next_index == 1


def test_the_writer_stays_within_the_window_of_the_slowest_group_and_what_all_have_read_goes(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], admin: TopicAdmin, run: str
) -> None:
    topics("raw_frames", config=raw_config())
    groups = ("yolox", "annotator")
    bus = open_bus(windows={"raw_frames": groups}, window=Window(records=8, at_least=1))
    writer = bus.writer("raw_frames")
    readers = [open_bus().reader("raw_frames", group) for group in groups]
    put = []

    def produce() -> None:
        for i in range(40):
            writer.put(frame(i, run))
            put.append(i)
        writer.put(end(40))
        writer.flush()

    thread = threading.Thread(target=produce)
    thread.start()
    read_all(readers[0], until=8)  # the fast one, as far as there is anything
    readers[0].settle()
    time.sleep(0.3)
    assert len(put) == 8
    read_all(readers[1], until=3)
    readers[1].settle()
    deadline = time.monotonic() + 10
    while len(put) < 11 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    assert len(put) == 11
    rest = [threading.Thread(target=read_all, args=(reader,)) for reader in readers]
    for each in rest:
        each.start()
    for each in (*rest, thread):
        each.join(30)
        assert not each.is_alive()
    assert open_bus().reader("raw_frames", "yolox").get(10) == end(40)


def test_reclaiming_leaves_the_last_record_and_readers_go_on(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], settings: KafkaSettings, run: str
) -> None:
    (name,) = topics("raw_frames", config=raw_config())
    bus = open_bus(windows={"raw_frames": ("yolox",)}, window=Window(records=100))
    writer, reader = bus.writer("raw_frames"), open_bus().reader("raw_frames", "yolox")
    gate: Any = writer._gate
    for i in range(10):
        writer.put(frame(i, run))
    writer.flush()
    read_all(reader, until=10)
    reader.settle()
    gate._watch.wait(bus._stop)
    gate._reclaimer.delete({0: 9}, wait=True)
    assert watermarks(settings, name) == (9, 10)
    assert open_bus().writer("raw_frames").next_index == 10
    writer.put(frame(10, run))
    assert reader.get(10).header.index == 10


@pytest.mark.parametrize("again", [True, False])
def test_expired_frames_are_sent_again_by_a_file_and_end_a_live_run(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str, again: bool
) -> None:
    topics("raw_frames", config=raw_config())
    windows = {"raw_frames": ("yolox", "annotator")}
    writer = open_bus(windows=windows).writer("raw_frames")
    for i in range(10):
        writer.put(frame(i, run))
    writer.flush()
    done, behind = (open_bus(windows=windows).reader("raw_frames", g) for g in windows["raw_frames"])
    read_all(done, until=10)
    done.settle()
    read_all(behind, until=3)
    behind.settle()
    gate: Any = writer._gate
    gate._reclaimer.delete({0: 7}, wait=True)  # as retention would
    if not again:
        with pytest.raises(FramesExpired, match="frame 3"):
            open_bus(again=False).reader("raw_frames", "annotator")
        return
    late = open_bus(windows=windows).reader("raw_frames", "annotator")
    anew = open_bus(windows=windows).writer("raw_frames")
    assert anew.next_index == 3
    for i in range(12):
        anew.put(frame(i, run))
    anew.put(end(12))
    anew.flush()
    assert indices(read_all(late)) == [*range(3, 12), 12]
    assert indices(read_all(done)) == [10, 11, 12]


def test_a_stop_wakes_whoever_waits(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]]
) -> None:
    topics("yolox")
    bus = open_bus()
    reader = bus.reader("yolox", "rtmpose")
    cause = RuntimeError("because")
    threading.Timer(0.2, bus.cancel, (cause,)).start()
    with pytest.raises(Cancelled) as caught:
        reader.get()
    assert caught.value.__cause__ is cause
    with pytest.raises(Cancelled):
        bus.writer("yolox").put(end(0))


def test_a_broker_that_is_absent_is_named_and_retryable(run: str) -> None:
    away = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_ms=500)
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1") as caught:
        KafkaBus(away, run)
    assert caught.value.retryable
    assert caught.value.exit_code == 30


def test_a_topic_that_was_never_made_is_named(open_bus: Callable[..., KafkaBus]) -> None:
    with pytest.raises(TopicLost, match="there is no topic yolox_test"):
        open_bus().reader("yolox", "rtmpose")


def test_a_topic_deleted_under_a_run_ends_reader_and_writer(
    open_bus: Callable[..., KafkaBus],
    topics: Callable[..., list[str]],
    admin: TopicAdmin,
    broker: Any,
    run: str,
) -> None:
    (name,) = topics("yolox")
    bus = open_bus(settings=KafkaSettings(bootstrap=broker.bootstrap, topic_check_ms=1000))
    reader, writer = bus.reader("yolox", "rtmpose"), bus.writer("yolox")
    writer.put(Detections.empty(header(0, run)))
    writer.flush()
    assert reader.get(10) is not None
    admin.delete([name])
    with pytest.raises(TopicLost, match=name):
        reader.get(30)

    def write_on() -> None:
        for i in range(1, 1000):
            writer.put(Detections.empty(header(i, run)))
            writer.flush()

    with pytest.raises(TopicLost, match=name):
        write_on()


def test_a_topic_made_anew_under_a_run_is_not_taken_for_the_old_one(
    open_bus: Callable[..., KafkaBus],
    topics: Callable[..., list[str]],
    admin: TopicAdmin,
    broker: Any,
    run: str,
) -> None:
    (name,) = topics("yolox")
    writer = open_bus().writer("yolox")
    for i in range(3):
        writer.put(Detections.empty(header(i, run)))
    writer.flush()
    bus = open_bus(settings=KafkaSettings(bootstrap=broker.bootstrap, topic_check_ms=1000))
    reader = bus.reader("yolox", "rtmpose")
    read_all(reader, until=3)
    reader.settle()
    admin.delete([name])
    admin.create([TopicSpec(name)])
    with pytest.raises(TopicLost, match=name):
        reader.get(30)


def test_a_place_after_the_end_of_the_topic_is_not_the_place_of_this_topic(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], settings: KafkaSettings, run: str
) -> None:
    (name,) = topics("yolox")
    stranger = Consumer(settings.consumer(group_name("rtmpose", run)))
    stranger.commit(offsets=[TopicPartition(name, 0, 7)], asynchronous=False)
    stranger.close()
    with pytest.raises(TopicLost, match="ends at offset 0, and 7 was committed"):
        open_bus().reader("yolox", "rtmpose")


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"0", b"\xff\xd8no picture", None),
        (b"x", b"stranger", []),
        (b"0", b"", [("schema", b"posetask.v1.Poses"), ("schema_version", b"9"), ("frame_index", b"0")]),
    ],
)
def test_a_record_that_cannot_be_read_is_a_named_error(
    open_bus: Callable[..., KafkaBus],
    topics: Callable[..., list[str]],
    settings: KafkaSettings,
    run: str,
    key: bytes,
    value: bytes,
    headers: Any,
) -> None:
    (name,) = topics("raw_frames")
    stranger = Producer(settings.producer())
    if headers is None:
        good = encode(
            __import__("posetask.messages.envelope", fromlist=["x"]).EncodedFrame(header(0, run), b"\xff\xd8")
        )
        headers = good.headers
    stranger.produce(name, key=key, value=value, headers=headers, partition=0)
    assert stranger.flush(10) == 0
    with pytest.raises(MalformedRecord):
        open_bus().reader("raw_frames", "yolox").get(10)


def test_a_gap_is_a_named_error(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], settings: KafkaSettings, run: str
) -> None:
    (name,) = topics("yolox")
    stranger = Producer(settings.producer())
    for i in (0, 2):
        key, value, headers = encode(Detections.empty(header(i, run)))
        stranger.produce(name, key=key, value=value, headers=list(headers), partition=0)
    assert stranger.flush(10) == 0
    reader = open_bus().reader("yolox", "rtmpose")
    assert reader.get(10).header.index == 0
    with pytest.raises(StreamBroken, match="frame 2 where frame 1 was due"):
        reader.get(10)


def test_a_frame_that_is_too_large_loses_quality_and_a_result_is_refused(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], broker: Any, run: str
) -> None:
    topics("raw_frames", "yolox")
    small = KafkaSettings(bootstrap=broker.bootstrap, message_bytes=2**16)
    bus = open_bus(settings=small)
    writer, reader = bus.writer("raw_frames"), open_bus().reader("raw_frames", "yolox")
    writer.put(frame(0, run, side=320, noise=True))
    writer.flush()
    assert reader.get(10).image.shape == (320, 320, 3)
    many = Detections(header(0, run), np.zeros((9000, 4), np.float32), np.zeros(9000, np.float32))
    with pytest.raises(RecordTooLarge, match="frame 0 makes a record of 180"):
        open_bus(settings=small).writer("yolox").put(many)


def test_a_topic_smaller_than_the_record_is_named(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str
) -> None:
    topics("raw_frames", config={"max.message.bytes": "20000"})
    writer = open_bus().writer("raw_frames")
    writer.put(frame(0, run, side=320, noise=True))
    with pytest.raises(RecordTooLarge, match="raw_frames"):
        writer.flush()


def test_topics_are_made_once_confirmed_and_gone_when_deleted(admin: TopicAdmin, run: str) -> None:
    specs = [TopicSpec(topic_name(name, run), 2, raw_config()) for name in ("a", "b")]
    admin.create(specs)
    admin.create(specs)
    found = admin.existing()
    assert [found[spec.name] for spec in specs] == [2, 2]
    with pytest.raises(KafkaRefused, match="has 2 partitions where 3 are wanted"):
        admin.create([TopicSpec(specs[0].name, 3)])
    admin.delete(spec.name for spec in specs)
    admin.delete(spec.name for spec in specs)
    assert not {spec.name for spec in specs} & set(admin.existing())
    admin.delete([])


def test_what_the_cluster_cannot_carry_is_refused_before_it_is_asked(
    settings: KafkaSettings, run: str
) -> None:
    with pytest.raises(KafkaRefused, match="the budget is 1"):
        TopicAdmin(settings, partition_budget=1).create([TopicSpec(topic_name("a", run), 2)])
    with pytest.raises(KafkaRefused, match="INVALID_REPLICATION_FACTOR"):
        TopicAdmin(settings).create([TopicSpec(topic_name("a", run), 1, replication=3)])


def test_groups_are_deleted_and_a_second_time_is_fine(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], admin: TopicAdmin, run: str
) -> None:
    topics("yolox")
    writer, reader = open_bus().writer("yolox"), open_bus().reader("yolox", "rtmpose")
    writer.put(Detections.empty(header(0, run)))
    read_all(reader, until=1)
    reader.settle()
    for _ in range(2):
        admin.delete_groups([group_name("rtmpose", run)])
    assert open_bus().reader("yolox", "rtmpose").next_index == 0


@pytest.fixture(scope="module")
def secured(make_broker: Callable[..., Any]) -> str:
    """A broker with passwords and ACLs; the plain listener's anonymous user may do everything."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    make_broker(
        f"listeners=SASL://{address}",
        f"advertised.listeners=SASL://{address}",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:ANONYMOUS;User:admin",
        "listener.name.sasl.sasl.enabled.mechanisms=PLAIN",
        f"listener.name.sasl.plain.sasl.jaas.config={module} required"
        ' user_admin="root-word" user_nobody="no-word";',
    )
    return address


def sasl(address: str, user: str, word: str) -> KafkaSettings:
    return KafkaSettings.from_environment(
        {
            "POSETASK_KAFKA": address,
            "POSETASK_KAFKA_SECURITY": "sasl_plaintext",
            "POSETASK_KAFKA_MECHANISM": "PLAIN",
            "POSETASK_KAFKA_USERNAME": user,
            "POSETASK_KAFKA_PASSWORD": word,
            "POSETASK_KAFKA_CONNECT_TIMEOUT_MS": "5000",
        }
    )


def test_credentials_open_the_broker_and_what_acls_deny_is_named(secured: str, run: str) -> None:
    allowed, denied = sasl(secured, "admin", "root-word"), sasl(secured, "nobody", "no-word")
    TopicAdmin(allowed).create([TopicSpec(topic_name("yolox", run))])
    with closing(KafkaBus(allowed, run)) as bus:
        writer = bus.writer("yolox")
        writer.put(Detections.empty(header(0, run)))
        writer.flush()
    with closing(KafkaBus(denied, run)) as bus, pytest.raises(KafkaAccessDenied, match="looking for"):
        bus.reader("yolox", "rtmpose")
    with pytest.raises(KafkaAccessDenied, match=r"TOPIC_AUTHORIZATION_FAILED|CLUSTER_AUTHORIZATION_FAILED"):
        TopicAdmin(denied).create([TopicSpec(topic_name("other", run))])


def test_a_wrong_password_is_named_and_not_shown(secured: str, run: str) -> None:
    with pytest.raises(KafkaAccessDenied) as caught:
        KafkaBus(sasl(secured, "admin", "wrong-word"), run)
    assert "wrong-word" not in str(caught.value)


def test_commits_go_out_while_another_thread_waits_for_records(
    open_bus: Callable[..., KafkaBus], topics: Callable[..., list[str]], run: str
) -> None:
    topics("yolox")
    writer, bus = open_bus().writer("yolox"), open_bus()
    reader = bus.reader("yolox", "rtmpose")
    for i in range(3):
        writer.put(Detections.empty(header(i, run)))
    writer.flush()
    read_all(reader, commit=False, until=3)
    waiting = threading.Thread(target=lambda: reader.get(8))
    waiting.start()
    reader.commit(2)
    deadline = time.monotonic() + 6
    while open_bus().reader("yolox", "rtmpose").next_index != 3:
        assert time.monotonic() < deadline, "the commit never reached the broker"
    assert waiting.is_alive()
    assert reader.lag == 0
    writer.put(end(3))
    writer.flush()
    waiting.join(10)
    assert not waiting.is_alive()
