"""Asks the brokers again while they are merely away: a coordinator that loads, a leader that moves."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from posetask.transport.kafka.faults import AWAY, fault
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Place

T = TypeVar("T")

_PAUSE_SECONDS = 0.1


def patiently(call: Callable[[], T], doing: str, stop: Stop, seconds: float) -> T:
    """The answer of ``call``, asked again for up to ``seconds``.

    Raises:
        Cancelled: The run ended meanwhile.
        PoseTaskError: The brokers refuse, or are away for longer.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except KafkaException as error:
            passing = error.args[0].name() in AWAY or error.args[0].retriable()
            if not passing or time.monotonic() > deadline:
                raise fault(error.args[0], doing) from error
        stop.wait(_PAUSE_SECONDS)


def ask_committed(
    consumer: Consumer, topic: str, partitions: Sequence[int], total: int, seconds: float
) -> dict[int, Place | None]:
    """Where the consumer's group stands in a topic of ``total`` partitions; None where it never committed.

    Raises:
        KafkaException: The brokers refuse or are away.
    """
    found = consumer.committed([TopicPartition(topic, p) for p in partitions], timeout=seconds)
    for entry in found:
        if entry.error is not None:
            raise KafkaException(entry.error)
    return {e.partition: Place.parse(e.offset, e.metadata, e.partition, total) for e in found}
