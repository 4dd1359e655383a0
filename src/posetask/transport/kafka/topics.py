"""Topics of a run: made with confirmation, deleted with confirmation, within a budget of partitions."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from posetask.errors import KafkaRefused, KafkaUnavailable, PoseTaskError, TopicLost
from posetask.transport.kafka.clientlog import CLIENT_LOG
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.settings import KafkaSettings

REQUEST_SECONDS = 15.0
CONFIRM_SECONDS = 30.0
_EXISTS = "TOPIC_ALREADY_EXISTS"
_GONE = frozenset({"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "GROUP_ID_NOT_FOUND"})
_PASSING = frozenset({"NON_EMPTY_GROUP", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR", "_WAIT_COORD"})


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to make.

    Attributes:
        name: Kafka's.
        partitions: How many.
        config: Kafka's own keys and values.
        replication: Copies; -1 takes the brokers' default.
    """

    name: str
    partitions: int = 1
    config: Mapping[str, str] = field(default_factory=dict)
    replication: int = -1


def raw_config(*, message_bytes: int = 8 * 2**20, segment_bytes: int = 16 * 2**20) -> dict[str, str]:
    """Settings of ``raw_frames``: large records that leave as soon as they are read.

    Args:
        message_bytes: Largest record.
        segment_bytes: Size of a file on the broker; only whole files that nobody needs are deleted.
    """
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(10 * 60 * 1000),  # the fail-safe, never the flow control
        "retention.bytes": "-1",  # a limit in bytes would delete what nobody has read
        "segment.bytes": str(max(segment_bytes, message_bytes)),  # of 1 GiB: the newest file is never deleted
        "segment.ms": str(60 * 1000),  # of 7 days: a slow stream's files end too
        "file.delete.delay.ms": "1000",  # of 1 min: reclaimed bytes are really gone
        "max.message.bytes": str(message_bytes),  # of 1 MiB: a 4K frame
        "compression.type": "producer",  # the broker does not touch what is in a record
    }


def result_config(
    *, keep_seconds: float, nbytes: int = 2**30, message_bytes: int = 8 * 2**20
) -> dict[str, str]:
    """Settings of a result topic: small records, all kept until the run is cleaned up.

    Args:
        keep_seconds: Deadline of the task plus its TTL.
        nbytes: Budget a partition; a run that exceeds it fails by name, it never loses records silently.
        message_bytes: Largest record.
    """
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(round(keep_seconds * 1000)),
        "retention.bytes": str(nbytes),
        "segment.bytes": str(max(16 * 2**20, message_bytes)),
        "file.delete.delay.ms": "1000",
        "max.message.bytes": str(message_bytes),
        "compression.type": "producer",
    }


def check_budget(existing: int, wanted: int, budget: int) -> None:
    """Refuse what would make more partitions than the cluster is meant to carry.

    Raises:
        KafkaRefused: Names the numbers.

    >>> check_budget(existing=90, wanted=10, budget=100)
    """
    if existing + wanted > budget:
        raise KafkaRefused(
            f"{wanted} more partitions would make {existing + wanted}, and the budget is {budget}",
            hint="wait for tasks to be cleaned up, or raise the budget",
        )


class TopicAdmin:
    """Makes, finds and deletes topics and groups.

    Args:
        settings: Of the connection.
        partition_budget: Most partitions of all topics together; None sets no limit.

    Raises:
        PoseTaskError: A setting is refused by the client.
    """

    def __init__(self, settings: KafkaSettings, *, partition_budget: int | None = 4_000) -> None:
        self._settings = settings
        self._budget = partition_budget
        self._denied: KafkaError | None = None
        callbacks = {"logger": CLIENT_LOG, "error_cb": self._on_error}
        self.client = open_client(AdminClient, {**settings.admin(), **callbacks}, settings)

    def existing(self, timeout: float | None = None) -> dict[str, int]:
        """Every topic and its count of partitions.

        Raises:
            KafkaUnavailable: No broker answers.
        """
        limit = self._settings.connect_timeout_ms / 1000 if timeout is None else timeout
        try:
            found = self.client.list_topics(timeout=limit)
        except KafkaException as error:
            self.client.poll(0)  # why a connection failed is told to the callback alone
            cause = self._denied or error.args[0]
            raise fault(cause, f"reaching the brokers at {self._settings.bootstrap}") from error
        return {name: len(topic.partitions) for name, topic in found.topics.items() if topic.error is None}

    def partitions(self, name: str) -> int:
        """Of one topic; 0 where there is none.

        Raises:
            KafkaAccessDenied: It may not be seen.
            PoseTaskError: The brokers are away.
        """
        known = self.existing().get(name, 0)
        if known:
            return known
        # A topic that may not be seen is in no list. Asked for by name it is; and this question makes none.
        asked = self.client.describe_topics(TopicCollection([name]), request_timeout=REQUEST_SECONDS)
        try:
            asked[name].result(REQUEST_SECONDS + 5)
        except KafkaException as error:
            found = fault(error.args[0], f"looking for {name}")
            if isinstance(found, TopicLost):
                return 0
            raise found from error
        return self.existing().get(name, 0)

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Make topics in one call, and return when every one of them has its leaders.

        A topic that is there already is taken over where its partitions agree, so a second call is harmless.

        Raises:
            KafkaRefused: Over budget, or the brokers do not allow the settings.
            PoseTaskError: The brokers are away, or deny it.
        """
        existing = self.existing()
        new = [spec for spec in specs if spec.name not in existing]
        if self._budget is not None:
            check_budget(sum(existing.values()), sum(spec.partitions for spec in new), self._budget)
        if new:
            asked = self.client.create_topics(
                [NewTopic(s.name, s.partitions, s.replication, config=dict(s.config)) for s in new],
                operation_timeout=REQUEST_SECONDS,
                request_timeout=REQUEST_SECONDS,
            )
            _settle(asked, frozenset({_EXISTS}), "making topic")
        wanted = {spec.name: spec.partitions for spec in specs}
        self._confirm("topics to appear", lambda found: all(name in found for name in wanted))
        for name, count in self._counts(wanted).items():
            if count != wanted[name]:
                raise KafkaRefused(
                    f"topic {name} has {count} partitions where {wanted[name]} are wanted",
                    hint="delete it, or give the stages as many replicas as it was made for",
                )

    def delete(self, names: Iterable[str]) -> None:
        """Delete topics in one call, and return when no broker shows them; those that are gone are fine.

        Raises:
            PoseTaskError: The brokers are away, or deny it.
        """
        gone = sorted(set(names))
        if not gone:
            return
        asked = self.client.delete_topics(
            gone, operation_timeout=REQUEST_SECONDS, request_timeout=REQUEST_SECONDS
        )
        _settle(asked, _GONE, "deleting topic")
        self._confirm("topics to go", lambda found: not any(name in found for name in gone))

    def delete_groups(self, names: Iterable[str], *, patience: float = 10.0) -> None:
        """Delete consumer groups; retries while one is still in use.

        Raises:
            PoseTaskError: The brokers are away or deny it, or a group is in use after ``patience`` seconds.
        """
        left = sorted(set(names))
        deadline = time.monotonic() + patience
        while left:
            asked = self.client.delete_consumer_groups(left, request_timeout=REQUEST_SECONDS)
            busy: dict[str, KafkaException] = {}
            for name, future in asked.items():
                try:
                    future.result(REQUEST_SECONDS + 5)
                except KafkaException as error:
                    code = error.args[0].name()
                    if code in _PASSING:
                        busy[name] = error
                    elif code not in _GONE:
                        raise fault(error.args[0], f"deleting group {name}") from error
            left = sorted(busy)
            if left and time.monotonic() > deadline:
                raise fault(busy[left[0]].args[0], f"deleting group {left[0]}")
            if left:
                time.sleep(0.2)

    def _on_error(self, error: KafkaError) -> None:
        if error.name() in {"_AUTHENTICATION", "_SSL"}:
            self._denied = error

    def _counts(self, names: Iterable[str]) -> dict[str, int]:
        found = self.existing()
        return {name: found.get(name, 0) for name in names}

    def _confirm(self, what: str, reached: Callable[[Mapping[str, int]], bool]) -> None:
        deadline, pause = time.monotonic() + CONFIRM_SECONDS, 0.01
        while not reached(self.existing()):
            if time.monotonic() > deadline:
                raise KafkaUnavailable(
                    f"the brokers agreed, yet waited {CONFIRM_SECONDS:.0f} s for {what}", hint="try again"
                )
            time.sleep(pause)
            pause = min(0.5, 2 * pause)


def _settle(asked: Mapping[str, Future[Any]], harmless: frozenset[str], doing: str) -> None:
    failures: list[PoseTaskError] = []
    for name, future in asked.items():
        try:
            future.result(REQUEST_SECONDS + 5)
        except KafkaException as error:
            if error.args[0].name() not in harmless:
                failures.append(fault(error.args[0], f"{doing} {name}"))
    if failures:
        raise failures[0]


def open_client(
    client: Callable[[dict[str, Any]], Any], configuration: dict[str, Any], settings: KafkaSettings
) -> Any:
    """Make a client of librdkafka; its refusals are ours.

    Raises:
        KafkaRefused: A setting is bad; the value is not shown.
    """
    try:
        return client(configuration)
    except (KafkaException, ValueError, TypeError) as error:
        first = error.args[0] if error.args else ""
        said = first.str() if isinstance(first, KafkaError) else str(first)
        for secret in (settings.password, settings.tls_key, settings.tls_key_password):
            if secret is not None and secret.get_secret_value():
                said = said.replace(secret.get_secret_value(), "***")
        raise KafkaRefused(
            f"the Kafka client refuses its settings: {said}", hint="check POSETASK_KAFKA_*"
        ) from None
