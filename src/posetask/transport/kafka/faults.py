"""Kafka's error codes to errors of the tree: whether a retry can mend it, and what to do."""

from __future__ import annotations

from typing import Protocol

from posetask.errors import (
    FramesExpired,
    KafkaAccessDenied,
    KafkaRefused,
    KafkaUnavailable,
    PoseTaskError,
    RecordTooLarge,
    StorageFull,
    TopicLost,
    TransportError,
)


class KafkaFault(Protocol):
    """What we need of ``confluent_kafka.KafkaError``."""

    def name(self) -> str:
        """Of the code, for example ``UNKNOWN_TOPIC_OR_PART``."""
        ...

    def str(self) -> str:
        """In words."""
        ...

    def retriable(self) -> bool:
        """Whether the broker says that trying again can help."""
        ...


AWAY = frozenset(
    {
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_RESOLVE",
        "_TIMED_OUT",
        "_MSG_TIMED_OUT",
        "_WAIT_COORD",
        "_NODE_UPDATE",
        "REQUEST_TIMED_OUT",
        "NETWORK_EXCEPTION",
        "BROKER_NOT_AVAILABLE",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "COORDINATOR_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "NOT_COORDINATOR",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "NOT_CONTROLLER",
        "THROTTLING_QUOTA_EXCEEDED",
    }
)
EXPIRED = frozenset({"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"})
_LOST = frozenset(
    {
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "UNKNOWN_TOPIC_ID",
        "INCONSISTENT_TOPIC_ID",
    }
)
_DENIED = frozenset(
    {
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        "SASL_AUTHENTICATION_FAILED",
        "_AUTHENTICATION",
        "_SSL",
    }
)
_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})


def fault(error: KafkaFault, doing: str) -> PoseTaskError:
    """The error of the tree for Kafka's.

    Args:
        error: Kafka's.
        doing: What we were at, with the names that matter: ``writing frame 7 to raw_frames_demo``.
    """
    name = error.name()
    said = f"{doing}: {error.str()} ({name})"
    if name in _LOST:
        return TopicLost(said, hint="the topic was deleted or never made; submit the task again")
    if name in _DENIED:
        return KafkaAccessDenied(
            said, hint="check the credentials and that the ACLs of the run's topics and groups allow it"
        )
    if name in EXPIRED:
        return FramesExpired(
            said, hint="the stage fell behind the broker's retention; run the task again from its file"
        )
    if name in _LARGE:
        return RecordTooLarge(
            said, hint="raise max.message.bytes of the topic, or lower the wire's JPEG quality"
        )
    if name == "KAFKA_STORAGE_ERROR":
        return StorageFull(said, hint="the broker's disk is full or failing; free space there")
    if name in AWAY or error.retriable():
        return KafkaUnavailable(
            said, hint="check that the broker runs and is reachable; the stage can be restarted"
        )
    if name in {"INVALID_REPLICATION_FACTOR", "INVALID_PARTITIONS", "INVALID_CONFIG", "POLICY_VIOLATION"}:
        return KafkaRefused(said, hint="the brokers do not allow these topic settings; see docs/kafka.md")
    return TransportError(said, hint="see docs/kafka.md, and the broker's log")
