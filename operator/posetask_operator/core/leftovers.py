"""What is still there of a run, and the actions that take it away."""

from __future__ import annotations

from collections.abc import Iterable

from posetask.spec import Reason
from posetask_operator.core import failures
from posetask_operator.core.actions import (
    Action,
    DeleteGroups,
    DeleteJob,
    DeletePod,
    DeleteTopics,
    ForgetRun,
    TombstoneProgress,
)
from posetask_operator.core.failures import Failure
from posetask_operator.core.gang import View
from posetask_operator.core.observed import JobSeen, KafkaSeen, PodSeen


def own_jobs(view: View) -> tuple[JobSeen, ...]:
    """Jobs of the task, of all attempts."""
    return tuple(job for job in view.seen.jobs if job.owner_uid == view.seen.task.uid)


def strangers(view: View) -> tuple[DeleteJob, ...]:
    """Takes away Jobs of attempts that are over."""
    current = {member.job_name for member in view.members}
    return delete(job for job in own_jobs(view) if job.name not in current)


def delete(jobs: Iterable[JobSeen]) -> tuple[DeleteJob, ...]:
    """Takes Jobs away, those that are not going yet."""
    return tuple(DeleteJob(job.name, job.uid) for job in jobs if not job.deleting)


def alive(view: View) -> tuple[PodSeen, ...]:
    """Pods that may still run."""
    return tuple(pod for pod in view.seen.pods if pod.alive)


def lost(view: View) -> tuple[PodSeen, ...]:
    """Pods that cannot be ended."""
    seen, after = view.seen, view.settings.timings.node_lost_after
    return tuple(p for p in seen.pods if failures.lost(p, seen.unreachable, seen.now, after))


def orphans(view: View) -> tuple[PodSeen, ...]:
    """Pods that run without their Job, and that nobody asked to go. Says something of a fresh look only."""
    jobs = {job.uid for job in view.seen.jobs}
    return tuple(pod for pod in alive(view) if pod.job_uid not in jobs and pod.grace_ends is None)


def delete_orphans(view: View) -> tuple[DeletePod, ...]:
    """Takes pods without Jobs away."""
    return tuple(DeletePod(pod.name, pod.uid) for pod in orphans(view)) if view.seen.fresh else ()


def lost_pod(view: View) -> Failure | None:
    """A pod that cannot be ended because its node does not answer; ``word`` is the node."""
    for pod in lost(view):
        text = f"pod {pod.name} of stage {pod.stage} cannot be ended: node {pod.node} does not answer"
        return Failure(pod.stage, Reason.NODE_LOST, text, word=pod.node or "")
    return None


def from_kafka(view: View, kafka: KafkaSeen) -> tuple[Action, ...]:
    """Takes away all that the brokers hold of the run, the record of it last; nothing where nothing is left.

    Groups, topics and keys that are gone already do no harm, so what the record names is asked for whole.
    """
    record = kafka.record
    groups = (record.groups if record is not None else ()) or tuple(sorted(kafka.groups or ()))
    named = record.topics if record is not None else ()
    topics = tuple(dict.fromkeys((*named, *sorted(kafka.topics))))
    stages = tuple(dict.fromkeys((*(record.stages if record else ()), *sorted(kafka.progress_keys))))
    actions: list[Action] = []
    if groups:
        actions.append(DeleteGroups(groups))
    if topics:
        actions.append(DeleteTopics(topics))
    if stages:
        actions.append(TombstoneProgress(view.seen.task.run, stages))
    if record is not None:
        actions.append(ForgetRun(view.seen.task.run))
    return tuple(actions)
