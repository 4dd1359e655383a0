"""What a task holds of its profile, and what it asks for: what admission reckons with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from posetask_operator.core import leftovers
from posetask_operator.core.gang import view
from posetask_operator.core.layout import Layout
from posetask_operator.core.observed import Observed
from posetask_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Holding:
    """What a task holds now.

    Attributes:
        profile: None where the settings no longer have it.
        gpus: Of its gang, or of its pods where these are more; all of them until no pod is left that runs.
        runs: It counts among its profile's and its namespace's tasks.
        partitions: Of its topics, made or still to be made; held until they are confirmed gone.
        partitions_there: Of those, how many the brokers show.
        since: When the attempt was admitted.
    """

    namespace: str
    profile: str | None
    attempt: int
    gpus: int
    runs: bool
    partitions: int = 0
    partitions_there: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a task asks for, all at once.

    Attributes:
        key: ``namespace/name``.
        attempt: The one that would begin.
        queued: When it began to wait.
        partitions: Of its topics that are still to be made.
    """

    key: str
    namespace: str
    profile: str
    attempt: int
    gpus: int
    partitions: int
    priority: int
    queued: datetime


def holding(seen: Observed, settings: Settings) -> Holding | None:
    """What a task holds; None where it holds nothing.

    An attempt holds its whole gang from its admission until the last of its pods has ended, those included
    that are terminating: a GPU is not free because somebody asked for it.
    """
    status = seen.task.status
    if status.attempt == 0:
        return None
    found = view(seen, settings)
    layout = found.layout if isinstance(found.layout, Layout) else None
    pods = leftovers.alive(found)
    jobs = [job for job in leftovers.own_jobs(found) if not job.ended or job.active > 0]
    runs = bool(pods or jobs) or (status.admitted_time is not None and status.terminal is None)
    there = sum(seen.kafka.topics.values()) if seen.kafka is not None else 0
    wanted = sum(layout.topics.values()) if layout is not None else there
    partitions = 0 if status.topics_deleted_time is not None else wanted
    if not runs and not partitions:
        return None
    gang = layout.gpus if layout is not None else 0
    return Holding(
        namespace=seen.task.namespace,
        profile=layout.profile_name if layout is not None else None,
        attempt=status.attempt,
        gpus=max(gang, sum(pod.gpus for pod in pods)) if runs else 0,
        runs=runs,
        partitions=partitions,
        partitions_there=there,
        since=status.admitted_time,
    )


def request(seen: Observed, settings: Settings) -> Request | None:
    """What a task that waits asks for; None where its specification cannot be worked out."""
    found, task = view(seen, settings), seen.task
    if not isinstance(found.layout, Layout) or task.spec is None:
        return None
    there = seen.kafka.topics if seen.kafka is not None else {}
    wanted = sum(found.layout.topics.values())
    return Request(
        key=task.key,
        namespace=task.namespace,
        profile=found.layout.profile_name,
        attempt=task.status.attempt + 1,
        gpus=found.layout.gpus,
        partitions=max(0, wanted - sum(there.values())) if task.status.attempt == 0 else 0,
        priority=task.spec.scheduling.priority,
        queued=task.status.queued_time or task.created,
    )
