"""Where consumer groups stand, watched from beside them.

Each group is asked through a consumer that never subscribes, so it does not join. (The admin client's own
call, ``list_consumer_group_offsets``, crashes the process when a coordinator is loading or has moved, seen
with librdkafka 2.16: its error path reaches for a consumer group that an admin client does not have;
librdkafka issue 5040.)
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from confluent_kafka import Consumer, KafkaException

from posetask.errors import PoseTaskError
from posetask.transport.kafka.faults import AWAY, fault
from posetask.transport.kafka.patience import ask_committed, patiently
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Place

_DOING = "asking where a group stands: "


class GroupWatch:
    """Keeps asking, on a thread of its own, so that whoever looks never waits.

    Args:
        consumers: By group; they belong to the watch.
        topic: Kafka's name.
        partitions: Of the topic.
        interval: Seconds between two rounds.
        timeout: Seconds for one answer.
    """

    def __init__(
        self,
        consumers: Mapping[str, Consumer],
        topic: str,
        partitions: int,
        *,
        interval: float = 0.05,
        timeout: float = 10.0,
    ) -> None:
        self._consumers, self._topic, self._partitions = dict(consumers), topic, partitions
        self._interval, self._timeout = interval, timeout
        self._places: dict[str, Mapping[int, Place | None]] = {group: {} for group in consumers}
        self._heard = threading.Event()
        self._closed = threading.Event()
        self._failure: PoseTaskError | None = None
        self._thread: threading.Thread | None = None

    @property
    def places(self) -> list[Mapping[int, Place | None]]:
        """As last heard; a group that never committed has none."""
        return list(self._places.values())

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
            PoseTaskError: The brokers refuse. That they are away is waited out: writing fails if it lasts.
        """
        if self._failure is not None:
            raise self._failure
        heard = self._heard.is_set()
        self._heard.clear()
        return heard

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(self._timeout + 5)
        for consumer in self._consumers.values():
            consumer.close()

    def _watch(self) -> None:
        while not self._closed.wait(self._interval):
            for group in self._consumers:
                try:
                    self._ask(group)
                except KafkaException as error:
                    if error.args[0].name() not in AWAY:
                        self._failure = fault(error.args[0], _DOING + group)
                        return

    def _ask(self, group: str) -> None:
        found = ask_committed(
            self._consumers[group], self._topic, range(self._partitions), self._partitions, self._timeout
        )
        if found != self._places[group]:
            self._places[group] = found
            self._heard.set()
