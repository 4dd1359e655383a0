"""Progress of all runs on one compacted topic: the last word of every stage, by ``run/stage``."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from posetask.transport.kafka.clientlog import CLIENT_LOG
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, open_client

logger = logging.getLogger(__name__)

PROGRESS = "posetask_progress"
_SECONDS = 10.0


def progress_topic() -> TopicSpec:
    """The topic, shared by all runs of an installation."""
    return TopicSpec(PROGRESS, 1, {"cleanup.policy": "compact", "segment.ms": str(60 * 60 * 1000)})


class ProgressWriter:
    """Says how far a stage is. Never fails the stage: progress is worth less than the work.

    Args:
        settings: Of the connection.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        configuration = {**settings.producer(), "error_cb": CLIENT_LOG.error, "logger": CLIENT_LOG}
        self._producer: Producer = open_client(Producer, configuration, settings)
        self._complained = False

    def write(self, run: str, stage: str, value: bytes | None) -> None:
        """Send it off; None takes the key away."""
        try:
            self._producer.produce(PROGRESS, key=f"{run}/{stage}", value=value, on_delivery=self._delivered)
        except (BufferError, KafkaException) as error:
            self._complain(str(error))
        self._producer.poll(0)

    def close(self, seconds: float = _SECONDS) -> None:
        """Wait until what was written is there, at most so long."""
        if self._producer.flush(seconds):
            self._complain(f"not delivered within {seconds:.0f} s")
            self._producer.purge()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._complain(error.str())

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("progress cannot be written to %s: %s", PROGRESS, why)


class Word(NamedTuple):
    """A record of the topic; ``value`` is None where the key was taken away."""

    run: str
    stage: str
    value: bytes | None


class ProgressReader:
    """What the stages of one run say, from now on.

    Args:
        settings: Of the connection.
        run: Id of the run.

    Raises:
        PoseTaskError: The topic is not there, or the brokers are away.
    """

    def __init__(self, settings: KafkaSettings, run: str) -> None:
        self._run = run
        configuration = {
            **settings.consumer(f"progress_{run}"),
            "error_cb": CLIENT_LOG.error,
            "logger": CLIENT_LOG,
        }
        self._consumer: Consumer = open_client(Consumer, configuration, settings)
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(PROGRESS, 0), timeout=_SECONDS)
            self._consumer.assign([TopicPartition(PROGRESS, 0, high)])
        except KafkaException as error:
            self._consumer.close()
            raise fault(error.args[0], f"reading {PROGRESS}") from error

    def poll(self, seconds: float) -> Iterator[Word]:
        """What came; waits ``seconds`` for the first. Errors are passed over: the next word says more."""
        for message in self._consumer.consume(200, seconds):
            run, slash, stage = (message.key() or b"").decode(errors="replace").rpartition("/")
            if message.error() is None and slash and run == self._run:
                yield Word(run, stage, message.value())

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def forget(settings: KafkaSettings, run: str, stages: Iterable[str]) -> None:
    """Take a run's keys off the topic."""
    writer = ProgressWriter(settings)
    for stage in stages:
        writer.write(run, stage, None)
    writer.close()


def make_progress_topic(admin: TopicAdmin) -> None:
    """Make the topic where it is not there yet.

    Raises:
        PoseTaskError: The brokers are away, or refuse.
    """
    admin.create([progress_topic()])
