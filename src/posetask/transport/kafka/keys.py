"""The librdkafka keys that we set: value, unit, and why each is not the default. Pure data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from posetask.transport.kafka.settings import KafkaSettings

Client = Literal["all", "producer", "consumer"]
Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Key:
    """One librdkafka key: whose, its value, and why it is not the default."""

    client: Client
    name: str
    unit: str
    value: Callable[[KafkaSettings], Value]
    reason: str


def _fixed(value: Value) -> Callable[[KafkaSettings], Value]:
    return lambda _: value


KEYS: tuple[Key, ...] = (
    Key("all", "bootstrap.servers", "host:port", lambda s: s.bootstrap, "where to begin"),
    Key("all", "client.id", "", lambda s: s.client_id, "who we are in the brokers' logs and quotas"),
    Key("all", "socket.keepalive.enable", "", _fixed(True), "an idle stage must see a dead peer"),
    Key(
        "all",
        "reconnect.backoff.max.ms",
        "ms",
        _fixed(2_000),
        "a broker that is back is used at once, not after 10 s",
    ),
    Key(
        "all",
        "topic.metadata.refresh.interval.ms",
        "ms",
        lambda s: s.topic_check_ms,
        "a topic deleted under an idle run is seen, of 5 min",
    ),
    Key(
        "all",
        "topic.metadata.propagation.max.ms",
        "ms",
        _fixed(5_000),
        "topics are confirmed before a stage starts: a missing one is lost, of 30 s",
    ),
    Key(
        "producer",
        "enable.idempotence",
        "",
        _fixed(True),
        "a retry neither doubles nor reorders; the default is off",
    ),
    Key("producer", "acks", "", _fixed("all"), "acknowledged means that it survives a broker"),
    Key(
        "producer",
        "message.timeout.ms",
        "ms",
        lambda s: s.delivery_timeout_ms,
        "outlives a broker's restart; then fatal, never a silent drop",
    ),
    Key(
        "all",
        "message.max.bytes",
        "bytes",
        lambda s: s.message_bytes,
        "a 4K frame at quality 90 has 1.2 MB, and the default is 1 MB",
    ),
    Key(
        "producer",
        "queue.buffering.max.kbytes",
        "KiB",
        lambda s: s.producer_queue_kib,
        "the default of 1 GiB is a pod's whole memory",
    ),
    Key(
        "producer",
        "queue.buffering.max.messages",
        "records",
        _fixed(2_000),
        "bounded by count too, of 100,000",
    ),
    Key("producer", "linger.ms", "ms", _fixed(1), "a frame is not held back for company, of 5"),
    Key("producer", "compression.type", "", _fixed("none"), "JPEG and float32 noise do not shrink"),
    Key(
        "consumer",
        "enable.auto.commit",
        "",
        _fixed(False),
        "commits follow acknowledged output, not the clock",
    ),
    Key("consumer", "enable.auto.offset.store", "", _fixed(False), "offsets are given explicitly"),
    Key(
        "consumer",
        "auto.offset.reset",
        "",
        _fixed("error"),
        "the default jumps to the end: frames would vanish without a word",
    ),
    Key(
        "consumer",
        "allow.auto.create.topics",
        "",
        _fixed(False),
        "a question about a deleted topic must not make it again",
    ),
    Key(
        "consumer",
        "queued.max.messages.kbytes",
        "KiB",
        lambda s: s.consumer_queue_kib,
        "prefetch is bounded, of 64 MiB",
    ),
    Key(
        "consumer",
        "queued.min.messages",
        "records",
        _fixed(128),
        "prefetch is bounded by count too, of 100,000",
    ),
    Key(
        "consumer",
        "fetch.queue.backoff.ms",
        "ms",
        _fixed(10),
        "a full prefetch queue is looked at again soon, of 1 s",
    ),
    Key(
        "consumer",
        "max.partition.fetch.bytes",
        "bytes",
        lambda s: s.message_bytes,
        "the largest record fits into one answer",
    ),
    Key(
        "consumer",
        "fetch.max.bytes",
        "bytes",
        lambda s: 2 * s.message_bytes,
        "an answer holds less than the queue, of 50 MiB",
    ),
    Key(
        "consumer",
        "receive.message.max.bytes",
        "bytes",
        lambda s: 2 * s.message_bytes + 2**20,
        "must exceed fetch.max.bytes",
    ),
    Key(
        "consumer",
        "fetch.error.backoff.ms",
        "ms",
        _fixed(100),
        "a partition that moved is asked again soon, of 500",
    ),
    Key(
        "consumer",
        "check.crcs",
        "",
        _fixed(True),
        "damage on disk or wire is an error, not a strange picture",
    ),
    Key(
        "consumer",
        "max.poll.interval.ms",
        "ms",
        _fixed(86_400_000),
        "assigned by hand: a stage that waits at its window is no dead member",
    ),
)
"""In ``group.id``'s company these are all keys that we set; security keys follow :class:`KafkaSettings`."""
