"""Where consumer groups stand, watched from beside them.

Each group is asked through a consumer that never subscribes, so it does not join. (The admin client's own
call, ``list_consumer_group_offsets``, crashes the process when a coordinator is loading or has moved, seen
with librdkafka 2.16: its error path reaches for a consumer group that an admin client does not have;
librdkafka issue 5040.)
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from posetask.errors import KafkaUnavailable, PoseTaskError
from posetask.transport.kafka.faults import AWAY, fault
from posetask.transport.kafka.patience import ask_committed, patiently
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Place

_DOING = "asking where a group stands: "
_NO_LEADER = frozenset({"_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC"})
_LOST_SECONDS = 30.0
"""So long a topic may have no leader that the client knows of, while the brokers answer."""
_BOUNDS_SECONDS = 1.0
"""Between two looks at where the topic begins: retention is in no hurry."""


class GroupWatch:
    """Keeps asking, on a thread of its own, so that whoever looks never waits.

    Args:
        consumers: By group; they belong to the watch.
        topic: Kafka's name.
        partitions: Of the topic.
        interval: Seconds between two rounds.
        timeout: Seconds for one answer.
        away_seconds: The brokers may be away for so long.
    """

    def __init__(
        self,
        consumers: Mapping[str, Consumer],
        topic: str,
        partitions: int,
        *,
        interval: float = 0.05,
        timeout: float = 10.0,
        away_seconds: float = 120.0,
    ) -> None:
        self._consumers, self._topic, self._partitions = dict(consumers), topic, partitions
        self._interval, self._timeout, self._away_seconds = interval, timeout, away_seconds
        self._away_since: float | None = None
        self._lost_since: float | None = None
        self._low: dict[int, int] = {}
        self._low_due = 0.0
        self._places: dict[str, Mapping[int, Place | None]] = {group: {} for group in consumers}
        self._heard = threading.Event()
        self._closed = threading.Event()
        self._failure: PoseTaskError | None = None
        self._thread: threading.Thread | None = None

    @property
    def places(self) -> list[Mapping[int, Place | None]]:
        """As last heard; a group that never committed has none."""
        return list(self._places.values())

    @property
    def low(self) -> Mapping[int, int]:
        """Offset of the first record of each partition, from before the places; empty until first heard."""
        return self._low

    def wait(self, stop: Stop) -> None:
        """Ask every group now, wait for the answers, and keep asking from then on.

        Raises:
            Cancelled: The run ended meanwhile.
            PoseTaskError: The brokers refuse, or are away.
        """
        for group in self._consumers:
            patiently(partial(self._ask, group), _DOING + group, stop, self._timeout)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name=f"{self._topic}-groups", daemon=True)
            self._thread.start()

    def refresh(self) -> bool:
        """Whether something was heard since the last call; never waits.

        Raises:
            KafkaUnavailable: No broker answered for ``away_seconds``.
            PoseTaskError: The brokers refuse.
        """
        if self._failure is not None:
            raise self._failure
        heard = self._heard.is_set()
        self._heard.clear()
        return heard

    def hear(self, seconds: float) -> None:
        """Wait until something is heard, at most so long."""
        self._heard.wait(seconds)

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(self._timeout + 5)
        for consumer in self._consumers.values():
            consumer.close()

    def _watch(self) -> None:
        while not self._closed.wait(self._interval):
            try:
                low = self._ask_low()
                for group in self._consumers:
                    if self._closed.is_set():  # one call at most is under way when the clients are closed
                        return
                    self._ask(group)
                self._away_since = None
                if low is not None and low != self._low:
                    self._low = low
                    self._heard.set()
            except KafkaException as error:
                self._failure = self._judge(error)
                if self._failure is not None:
                    return

    def _judge(self, error: KafkaException) -> PoseTaskError | None:
        """What ends the watch; None while the brokers, or a leader, are merely away."""
        if error.args[0].name() not in AWAY:
            return fault(error.args[0], _DOING + ", ".join(self._consumers))
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since < self._away_seconds:
            return None
        return KafkaUnavailable(
            f"no broker answered for {self._away_seconds:.0f} s while asking where the readers of"
            f" {self._topic} stand",
            hint="check that the broker runs and is reachable; the stage can be restarted",
        )

    def _ask_low(self) -> dict[int, int] | None:
        """Where the partitions begin; None where it is not time to ask."""
        if time.monotonic() < self._low_due:
            return None
        consumer = next(iter(self._consumers.values()))
        out = {}
        for p in range(self._partitions):
            if self._closed.is_set():
                return None
            try:
                bounds = consumer.get_watermark_offsets(TopicPartition(self._topic, p), timeout=self._timeout)
            except KafkaException as error:
                if error.args[0].name() not in _NO_LEADER:
                    raise
                self._note_no_leader(error)
                return None
            if bounds is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            out[p] = int(bounds[0])
        self._lost_since = None
        self._low_due = time.monotonic() + _BOUNDS_SECONDS
        return out

    def _note_no_leader(self, error: KafkaException) -> None:
        """The client knows no leader: because its broker is away, or because the topic is."""
        now = time.monotonic()
        self._lost_since = (
            now if self._lost_since is None or self._away_since is not None else self._lost_since
        )
        if now - self._lost_since > _LOST_SECONDS:
            raise error

    def _ask(self, group: str) -> None:
        found = ask_committed(
            self._consumers[group], self._topic, range(self._partitions), self._partitions, self._timeout
        )
        if found != self._places[group]:
            self._places[group] = found
            self._heard.set()
