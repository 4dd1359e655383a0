"""Pods and Jobs that came to nothing: which reason they stand for, and what their owner is told."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from posetask.errors import PoseTaskError, TopicLost
from posetask.runtime.reports import Failure as Word
from posetask.spec import Reason
from posetask_operator.core import failures
from posetask_operator.core.observed import FailureSeen, JobSeen, PodSeen

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def pod(**given: Any) -> PodSeen:
    return replace(PodSeen("demo-yolox-0", "p1", "yolox", 1, "j1", "Failed", node="n1"), **given)


def job(**given: Any) -> JobSeen:
    return replace(
        JobSeen("demo-yolox-1", "j1", "yolox", 1, "t1", failed_reason="BackoffLimitExceeded"), **given
    )


def word(error: PoseTaskError) -> str:
    return Word.of(error).model_dump_json()


def tree(root: type[PoseTaskError] = PoseTaskError) -> list[type[PoseTaskError]]:
    ours = [k for k in root.__subclasses__() if k.__module__ == "posetask.errors"]
    return [each for kind in ours for each in (kind, *tree(kind))]


@pytest.mark.parametrize(
    ("seen", "reason", "retryable", "says"),
    [
        (pod(exit_code=20), Reason.INPUT_ERROR, False, "stage yolox ended with exit code 20"),
        (pod(exit_code=26, message="a\nlast line"), Reason.TRANSPORT_ERROR, False, "last line"),
        (pod(exit_code=30), Reason.UNAVAILABLE, True, "exit code 30"),
        (pod(exit_code=32), Reason.STORAGE_FULL, True, "exit code 32"),
        (pod(exit_code=137, reason="OOMKilled"), Reason.OUT_OF_MEMORY, False, "memory"),
        (pod(exit_code=137, reason="Error"), Reason.STAGE_DIED, True, "died of SIGKILL"),
        (pod(exit_code=139, reason="Error"), Reason.STAGE_DIED, True, "died of SIGSEGV"),
        (pod(exit_code=143, reason="Error"), Reason.STAGE_DIED, True, "SIGTERM"),
        (pod(exit_code=255, reason="Error"), Reason.STAGE_DIED, True, "exit code 255"),
        (pod(exit_code=1, message="Traceback\nValueError: x"), Reason.STAGE_DIED, True, "ValueError: x"),
        (pod(reason="Evicted", message="low on disk"), Reason.EVICTED, True, "node n1: low on disk"),
        (pod(exit_code=137, disrupted=True), Reason.EVICTED, True, "put out by node n1"),
        (pod(exit_code=128, reason="StartError"), Reason.CONTAINER_REFUSED, True, "could not be started"),
        (pod(), Reason.STAGE_DIED, True, "without a word"),
    ],
)
def test_a_pod_that_failed(seen: PodSeen, reason: Reason, retryable: bool, says: str) -> None:
    found = failures.of_pod(seen)
    assert found is not None
    assert (found.reason, found.retryable, found.exit_code) == (reason, retryable, seen.exit_code)
    assert says in found.message


@pytest.mark.parametrize(
    "seen", [pod(phase="Succeeded", exit_code=0), pod(phase="Running"), pod(phase="Pending")]
)
def test_a_pod_that_did_not_fail(seen: PodSeen) -> None:
    assert failures.of_pod(seen) is None


@pytest.mark.parametrize("kind", tree())
def test_every_error_of_a_stage_is_said_with_its_own_reason(kind: type[PoseTaskError]) -> None:
    error = kind("it happened", hint="do this")
    found = failures.of_pod(pod(exit_code=kind.exit_code, message=word(error)))
    assert found is not None
    ours = kind.__name__ in set(Reason)  # the others are the API's and the services', never a pod's
    assert found.reason == (kind.__name__ if ours else failures.by_exit_code(kind.exit_code))
    assert found.retryable is kind.retryable
    assert found.message == "stage yolox: it happened"
    assert found.reason.resolution or found.resolution == "do this"


def test_an_error_of_somebody_elses_stage_stands_for_its_exit_code() -> None:
    said = json.dumps({"reason": "NoFaces", "message": "no faces", "exit_code": 21})
    found = failures.of_pod(pod(exit_code=21, message=said))
    assert found is not None
    assert (found.reason, found.word, found.retryable) == (Reason.MODEL_ERROR, "NoFaces", False)


def test_a_job_says_what_cannot_be_mended_before_what_can() -> None:
    dead = [pod(exit_code=30, name="a"), pod(exit_code=21, name="b"), pod(exit_code=139, name="c")]
    assert failures.of_job(job(failed=3), dead).reason == Reason.MODEL_ERROR


def test_a_job_whose_pods_may_have_died_too_often_says_how_often() -> None:
    found = failures.of_job(job(failed=7), [pod(exit_code=139)])
    assert found.message == "stage yolox died of SIGSEGV, 7 pods in all"


def test_a_job_without_pods_is_read_from_its_condition_and_the_last_report() -> None:
    text = (
        "Container stage for pod lab/demo-yolox-0 failed with exit code 26 matching FailJob rule at index 0"
    )
    failed = job(failed_reason="PodFailurePolicy", failed_message=text)
    assert failures.of_job(failed, []).reason == Reason.TRANSPORT_ERROR
    said = Word.of(TopicLost("raw_frames is gone"))
    lost = FailureSeen(said.reason, said.message, said.hint, said.retryable, said.exit_code)
    assert failures.of_job(failed, [], lost).reason == Reason.TOPIC_LOST
    assert failures.of_job(job(), [], lost).reason == Reason.TOPIC_LOST
    assert failures.of_job(job(), []).message == "stage yolox: BackoffLimitExceeded"


@pytest.mark.parametrize(
    ("seen", "reason", "says"),
    [
        (
            pod(phase="Pending", waiting="ImagePullBackOff", waiting_message="no x:1"),
            Reason.IMAGE_MISSING,
            "x:1",
        ),
        (pod(phase="Pending", waiting="InvalidImageName"), Reason.IMAGE_MISSING, "InvalidImageName"),
        (
            pod(
                phase="Pending", waiting="CreateContainerConfigError", waiting_message='secret "s3" not found'
            ),
            Reason.SECRET_MISSING,
            "s3",
        ),
        (
            pod(phase="Pending", waiting="CreateContainerError"),
            Reason.CONTAINER_REFUSED,
            "CreateContainerError",
        ),
        (pod(phase="Pending", unschedulable="0/3 nodes"), Reason.UNSCHEDULABLE, "0/3 nodes"),
    ],
)
def test_a_pod_that_cannot_start(seen: PodSeen, reason: Reason, says: str) -> None:
    found = failures.held_up(seen)
    assert found is not None
    assert found.reason == reason
    assert says in found.message


def test_a_pod_that_is_merely_starting_is_no_trouble() -> None:
    assert failures.held_up(pod(phase="Pending")) is None


@pytest.mark.parametrize(
    ("late", "phase", "nodes", "lost"),
    [
        (300, "Running", {"n1"}, True),
        (299, "Running", {"n1"}, False),
        (900, "Running", {"n2"}, False),
        (900, "Failed", {"n1"}, False),
    ],
)
def test_a_pod_is_lost_long_past_its_grace_on_a_silent_node(
    late: int, phase: str, nodes: set[str], lost: bool
) -> None:
    seen = pod(phase=phase, grace_ends=NOW - timedelta(seconds=late))
    assert failures.lost(seen, nodes, NOW, 300) is lost


def test_a_pod_that_nobody_asked_to_go_is_not_lost() -> None:
    assert not failures.lost(pod(phase="Running"), {"n1"}, NOW, 300)
