"""What lies on a topic now: its bounds, and how far its writer was; where a writer that restarts goes on."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from confluent_kafka import Consumer, Message, TopicPartition

from posetask.errors import KafkaUnavailable, StreamBroken
from posetask.messages.envelope import Headers
from posetask.messages.records import EndOfStream
from posetask.messages.wire import decode, headline
from posetask.transport.kafka.faults import AWAY, fault
from posetask.transport.kafka.names import first_index
from posetask.transport.kafka.patience import patiently
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Places

ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Extent:
    """What one partition holds.

    Attributes:
        low: Offset of the first record.
        high: Offset after the last one.
        last_index: Frame of the last record; None where there is none, or it is the end.
        frames: Count of the end of the stream where it is there.
    """

    low: int
    high: int
    last_index: int | None = None
    frames: int | None = None


def resume_index(
    partition: int, partitions: int, extent: Extent, groups: Sequence[Places], *, again: bool
) -> int:
    """The first frame that a writer owes a partition.

    After the last frame that is there; but where a group's next record is gone (retention after a long
    suspension) a source that can be decoded ``again`` goes back to the frame that this group needs. Where
    everything is gone, nothing but the groups knows how far the stream was.

    >>> resume_index(0, 1, Extent(0, 5, last_index=4), [], again=True)
    5
    >>> resume_index(0, 2, Extent(0, 3, frames=5), [], again=True)
    6
    >>> from posetask.transport.kafka.window import Place
    >>> behind = [{0: Place(2, 2)}, {0: Place(8, 8)}]
    >>> resume_index(0, 1, Extent(6, 10, last_index=9), behind, again=True)
    2
    >>> resume_index(0, 1, Extent(6, 10, last_index=9), behind, again=False)
    10
    >>> resume_index(0, 1, Extent(10, 10), behind, again=True)
    2
    """
    needed = [
        place.next_index if place is not None else partition
        for places in groups
        for place in [places.get(partition)]
        if (place.offset if place is not None else 0) < extent.low
        or (extent.low == extent.high and extent.high > 0)
    ]
    if extent.last_index is not None:
        following = extent.last_index + partitions
    elif extent.frames is not None:
        following = first_index(partition, partitions, extent.frames)
    elif needed:
        following = max(needed)
    else:
        following = partition
    return min([following, *needed]) if again else following


def read_extents(consumer: Consumer, topic: str, partitions: Sequence[int], stop: Stop) -> dict[int, Extent]:
    """Ask for the bounds of ``partitions`` and read the last record of each.

    Raises:
        PoseTaskError: The topic is gone, the brokers are away, or the record is not ours.
    """
    bounds = read_bounds(consumer, topic, partitions, stop)
    filled = [p for p, (low, high) in bounds.items() if high > low]
    out = {p: Extent(*bound) for p, bound in bounds.items()}
    consumer.assign([TopicPartition(topic, p, bounds[p][1] - 1) for p in filled])
    deadline = time.monotonic() + ANSWER_SECONDS
    missing = set(filled)
    while missing:
        stop.check()
        message = consumer.poll(0.5)
        if message is None or ((error := message.error()) is not None and error.name() in AWAY):
            if time.monotonic() > deadline:
                raise KafkaUnavailable(
                    f"{topic} did not give its last record within {ANSWER_SECONDS:.0f} s", hint="try again"
                )
            continue
        if error is not None:
            raise fault(error, f"reading the end of {topic}")
        p = message.partition()
        if p in missing:
            missing.discard(p)
            out[p] = _extent(message, *bounds[p])
    consumer.unassign()
    return out


def read_bounds(
    consumer: Consumer, topic: str, partitions: Sequence[int], stop: Stop
) -> dict[int, tuple[int, int]]:
    """Offsets of the first record and after the last one, by partition.

    Raises:
        Cancelled: The run ended meanwhile.
        PoseTaskError: The topic is gone, or the brokers are away or deny it.
    """

    def ask(partition: int) -> tuple[int, int]:
        found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS)
        if found is None:
            raise KafkaUnavailable(
                f"{topic} did not give its bounds within {ANSWER_SECONDS:.0f} s", hint="try again"
            )
        return int(found[0]), int(found[1])

    # The leader of a topic that was made this moment may not know it yet.
    doing = f"asking for the bounds of {topic}"
    return {p: patiently(partial(ask, p), doing, stop, ANSWER_SECONDS) for p in partitions}


def _extent(message: Message, low: int, high: int) -> Extent:
    index = headline(message.key(), raw_headers(message))
    if index is not None:
        return Extent(low, high, last_index=index)
    end = decode(message.key(), message.value(), raw_headers(message)).record
    if not isinstance(end, EndOfStream):
        raise StreamBroken(f"the last record of {message.topic()} says that it is the end, and is not")
    return Extent(low, high, frames=end.frames)


def raw_headers(message: Message) -> Headers | None:
    """The headers as bytes: what the broker hands out, whatever the client's stubs allow for."""
    found = message.headers()
    return cast("Headers | None", found)
