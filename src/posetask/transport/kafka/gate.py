"""The gate before a windowed topic: waits for its slowest reader, and takes away what all have read."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from posetask.transport.bus import EmitAgain
from posetask.transport.kafka.faults import AWAY, fault
from posetask.transport.kafka.groups import GroupWatch
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Ledger, Trail, first_gone, reclaimable, slowest_index
from posetask.transport.memory import Window

PAUSE_SECONDS = 0.05
"""A writer at its window looks around so often where nothing is heard of its readers; at once where it is."""


class Reclaimer:
    """Deletes the records that every group has committed, at most once in ``interval`` seconds.

    Args:
        admin: Shared.
        topic: Kafka's name.
        interval: Seconds: the broker frees disk only when it checks retention, so there is no hurry.
    """

    def __init__(self, admin: AdminClient, topic: str, interval: float = 2.0) -> None:
        self._admin, self._topic, self._interval = admin, topic, interval
        self._due = time.monotonic() + interval
        self._done: dict[int, int] = {}

    def offer(self, below: Mapping[int, int]) -> bool:
        """Delete below these offsets where it is time, without waiting for the answer.

        Returns:
            Whether it was asked of the broker.
        """
        new = {p: offset for p, offset in below.items() if offset > self._done.get(p, 0)}
        if not new or time.monotonic() < self._due:
            return False
        self.delete(new)
        return True

    def delete(self, below: Mapping[int, int], *, wait: bool = False) -> None:
        """Delete below these offsets.

        Raises:
            PoseTaskError: With ``wait``, the brokers refuse.
        """
        self._due = time.monotonic() + self._interval
        asked = self._admin.delete_records(
            [TopicPartition(self._topic, p, offset) for p, offset in below.items()], request_timeout=15.0
        )
        self._done.update(below)
        for future in asked.values() if wait else ():
            try:
                future.result(20.0)
            except KafkaException as error:
                if error.args[0].name() not in AWAY:
                    raise fault(error.args[0], f"reclaiming {self._topic}") from error


class WindowGate:
    """Flow control of one topic (see :mod:`posetask.transport.kafka.window`).

    Args:
        window: How far the writer may run ahead.
        ledger: What is between writer and readers.
        watch: Where the readers' groups stand.
        partitions: Of the topic.
        trails: Where the frames lie that the writer sends; None where nothing can be sent again.
        reclaimer: None keeps every record until retention.
        high: Offsets after the last record of each partition, at the start.
        stop: Of the bus.
    """

    def __init__(
        self,
        window: Window,
        ledger: Ledger,
        watch: GroupWatch,
        partitions: int,
        trails: Mapping[int, Trail] | None,
        reclaimer: Reclaimer | None,
        high: Mapping[int, int],
        stop: Stop,
    ) -> None:
        self._window, self._ledger, self._watch, self._partitions = window, ledger, watch, partitions
        self._trails = trails
        self._reclaimer, self._high, self._stop = reclaimer, dict(high), stop
        self.waited_seconds = 0.0
        self._last_nbytes = 0

    @property
    def ahead(self) -> int:
        """Frames between the slowest reader and the writer, as last heard."""
        return self._ledger.records

    def enter(self, index: int, nbytes: int, tick: Callable[[], None]) -> None:
        """Wait for room.

        Raises:
            Cancelled: The run ended while waiting.
            EmitAgain: A reader needs what left the broker.
            PoseTaskError: The brokers refuse to say where the readers stand, or ``tick`` raised.
        """
        self._look()
        if not self._ledger.has_room(self._window, nbytes):
            begin = time.monotonic()
            while not self._ledger.has_room(self._window, nbytes):
                self._stop.check()
                self._watch.hear(PAUSE_SECONDS)
                tick()
                self._look()
            self.waited_seconds += time.monotonic() - begin
        self._ledger.sent(index, nbytes)
        self._last_nbytes = nbytes

    def has_room(self) -> bool:
        """Whether a record as large as the last one may go now; never waits.

        Raises:
            PoseTaskError: The brokers refuse to say where the readers stand, or are away for long.
        """
        self._look()
        return self._ledger.has_room(self._window, self._last_nbytes)

    def all_read(self, frames: int) -> bool:
        """Whether every group has committed the first ``frames`` frames; never waits.

        Raises:
            EmitAgain: A reader needs what left the broker.
            PoseTaskError: The brokers refuse to say where the readers stand, or are away for long.
        """
        self._look()
        return slowest_index(self._watch.places, self._partitions) >= frames

    def landed(self, partition: int, offset: int, *, frame: bool) -> None:
        """The partition holds a record at ``offset``; only what is known to be there counts as its last."""
        self._high[partition] = max(self._high.get(partition, 0), offset + 1)
        if frame and self._trails is not None:
            self._trails[partition].landed(offset)

    def _look(self) -> None:
        if self._watch.refresh():
            low, places = self._watch.low, self._watch.places
            slowest = slowest_index(places, self._partitions)
            self._ledger.settle(slowest)
            if self._trails is not None:
                for trail in self._trails.values():
                    trail.settle(slowest)
                gone = first_gone(places, low, self._trails)
                if gone is not None:
                    raise EmitAgain(gone)
            if self._reclaimer is not None:
                self._reclaimer.offer(reclaimable(places, self._high))
