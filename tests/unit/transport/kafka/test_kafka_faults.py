"""Kafka's codes and names become ours, with what to do next."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from posetask import errors
from posetask.errors import InvalidParameters, PoseTaskError
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.names import Replica, group_name, run_id, topic_name


@dataclass
class Code:
    code: str
    again: bool = False

    def name(self) -> str:
        return self.code

    def str(self) -> str:
        return "in words"

    def retriable(self) -> bool:
        return self.again


@pytest.mark.parametrize(
    ("code", "cls", "exit_code", "retryable"),
    [
        ("UNKNOWN_TOPIC_OR_PART", errors.TopicLost, 26, False),
        ("_UNKNOWN_PARTITION", errors.TopicLost, 26, False),
        ("TOPIC_AUTHORIZATION_FAILED", errors.KafkaAccessDenied, 26, False),
        ("GROUP_AUTHORIZATION_FAILED", errors.KafkaAccessDenied, 26, False),
        ("_AUTHENTICATION", errors.KafkaAccessDenied, 26, False),
        ("_AUTO_OFFSET_RESET", errors.FramesExpired, 23, False),
        ("OFFSET_OUT_OF_RANGE", errors.FramesExpired, 23, False),
        ("MSG_SIZE_TOO_LARGE", errors.RecordTooLarge, 26, False),
        ("KAFKA_STORAGE_ERROR", errors.StorageFull, 32, True),
        ("_TRANSPORT", errors.KafkaUnavailable, 30, True),
        ("_MSG_TIMED_OUT", errors.KafkaUnavailable, 30, True),
        ("NOT_ENOUGH_REPLICAS", errors.KafkaUnavailable, 30, True),
        ("POLICY_VIOLATION", errors.KafkaRefused, 26, False),
        ("INVALID_REPLICATION_FACTOR", errors.KafkaRefused, 26, False),
        ("CORRUPT_MESSAGE", errors.TransportError, 26, False),
    ],
)
def test_each_fault_has_its_name_exit_code_and_hint(
    code: str, cls: type[PoseTaskError], exit_code: int, retryable: bool
) -> None:
    error = fault(Code(code), "writing frame 7 to t")
    assert type(error) is cls
    assert (error.exit_code, error.retryable) == (exit_code, retryable)
    assert error.message == f"writing frame 7 to t: in words ({code})"
    assert error.hint


def test_what_the_broker_calls_passing_can_be_tried_again() -> None:
    assert fault(Code("SOMETHING_NEW", again=True), "x").retryable


def test_names_fit_kafka_whatever_the_task_is_called() -> None:
    run = run_id("a" * 100 + ".b", "0f" * 18)
    assert len(run) == 49
    assert topic_name("raw_frames", run) == f"raw_frames_{run}"
    assert group_name("yolox", run) == f"yolox_{run}"


@pytest.mark.parametrize("run", ["", "Upper", "a_b", "a/b", "x" * 62])
def test_an_illegal_run_is_refused(run: str) -> None:
    with pytest.raises(InvalidParameters):
        topic_name("raw_frames", run)


def test_replicas_share_out_every_partition_once() -> None:
    shares = [p for number in range(3) for p in Replica(number, 3).partitions(5)]
    assert sorted(shares) == list(range(5))
    with pytest.raises(InvalidParameters, match="no replica 3 of 3"):
        Replica(3, 3)
    with pytest.raises(InvalidParameters, match="3 replicas share 2 partitions"):
        Replica(0, 3).partitions(2)
