"""Every time-out and interval of the operator, in seconds, with its reason and its bounds."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def _seconds(default: int, least: int, most: int, why: str) -> Any:
    return Field(default, ge=least, le=most, description=f"seconds; {why}")


class Timings(BaseModel):
    """Times of the operator. What a task may choose for itself stands in its spec instead.

    >>> Timings(progress_every=10).progress_every
    10
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requeue_base: int = _seconds(
        60, 1, 3600, "first wait after a ready time-out; doubles each time, so that others get the GPUs"
    )
    requeue_most: int = _seconds(3600, 1, 86_400, "longest wait after a ready time-out or a failure")
    retry_base: int = _seconds(
        10, 0, 3600, "first wait after a failed attempt; doubles each time, so that a fault can pass"
    )
    progress_every: int = _seconds(
        10, 1, 600, "progress and ready counts are written no more often: each write costs etcd a revision"
    )
    queue_every: int = _seconds(
        30, 1, 600, "a queue position is written no more often: one admission moves everybody"
    )
    recheck: int = _seconds(60, 5, 600, "a task is looked at again, should an event be missed")
    settle: int = _seconds(2, 1, 60, "next look at what was asked for and is not confirmed yet")
    cleanup_retry: int = _seconds(
        10, 1, 600, "next try of a clean-up that Kafka refused; groups empty at their session time-out"
    )
    kafka_gone_after: int = _seconds(
        1800, 10, 7 * 86_400, "brokers away so long do not hold a deleted task or its namespace any longer"
    )
    node_lost_after: int = _seconds(
        300, 1, 86_400, "a pod still terminating so long after its grace, on an unreachable node, is lost"
    )
    pod_grace: int = _seconds(
        45, 1, 3600, "between SIGTERM and SIGKILL: an open segment is finished and committed"
    )
    stage_grace: int = _seconds(30, 0, 3600, "of which a stage may use so much; less than pod_grace")
    start_most: int = _seconds(
        600, 10, 3600, "a container that is not listening by then is started anew (images, models)"
    )
    result_margin: int = _seconds(
        3600, 0, 7 * 86_400, "result topics outlive deadline and clean-up by so much"
    )
