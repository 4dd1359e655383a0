"""Where consumer groups stand, asked without joining them."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from posetask.transport.kafka.faults import AWAY, fault
from posetask.transport.kafka.patience import patiently
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Place

_DOING = "asking where a group stands: "
_MISSING = frozenset({"GROUP_ID_NOT_FOUND"})


class GroupWatch:
    """Asks again and again where some groups stand in one topic, without holding up whoever asks.

    Args:
        admin: Shared.
        groups: Kafka's names.
        topic: Kafka's name.
        partitions: Of the topic.
        timeout: Seconds for one answer.
    """

    def __init__(
        self, admin: AdminClient, groups: Sequence[str], topic: str, partitions: int, timeout: float = 10.0
    ) -> None:
        self._admin, self._topic, self._partitions, self._timeout = admin, topic, partitions, timeout
        self._places: dict[str, dict[int, Place | None]] = {group: {} for group in groups}
        self._asked: dict[str, Future[Any]] = {}
        self._due = 0.0

    @property
    def places(self) -> list[Mapping[int, Place | None]]:
        """As last heard; a group that never committed has none."""
        return list(self._places.values())

    def refresh(self, interval: float = 0.05) -> bool:
        """Take in answers that came, and ask again where ``interval`` seconds passed; never waits.

        Returns:
            Whether something new was heard.

        Raises:
            PoseTaskError: The brokers refuse. That they are away is waited out here: what is written fails if
                it lasts.
        """
        heard = False
        for group, future in list(self._asked.items()):
            if future.done():
                del self._asked[group]
                try:
                    self._read(group, future)
                    heard = True
                except KafkaException as error:
                    if error.args[0].name() not in AWAY:
                        raise fault(error.args[0], _DOING + group) from error
        if not self._asked and time.monotonic() >= self._due:
            self._due = time.monotonic() + interval
            self._asked = {group: self._ask(group) for group in self._places}
        return heard

    def wait(self, stop: Stop) -> None:
        """Ask every group now and wait for the answers; used once, at the start.

        Raises:
            PoseTaskError: The brokers refuse, or are away.
        """
        for group in self._places:
            patiently(partial(self._read_now, group), _DOING + group, stop, self._timeout)

    def _read_now(self, group: str) -> None:
        self._read(group, self._ask(group))

    def _ask(self, group: str) -> Future[Any]:
        wanted = [TopicPartition(self._topic, p) for p in range(self._partitions)]
        request = [ConsumerGroupTopicPartitions(group, wanted)]
        future: Future[Any] = self._admin.list_consumer_group_offsets(request, request_timeout=self._timeout)[
            group
        ]
        return future

    def _read(self, group: str, future: Future[Any]) -> None:
        try:
            answer = future.result(self._timeout + 5)
        except KafkaException as error:
            if error.args[0].name() in _MISSING:
                return
            raise
        for entry in answer.topic_partitions:
            self._places[group][entry.partition] = Place.parse(
                entry.offset, entry.metadata, entry.partition, self._partitions
            )
