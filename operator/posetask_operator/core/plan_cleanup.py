"""What is taken away: of a task that is over, by its TTLs, and of one that is being deleted, at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from posetask.spec import Cleanup, ConditionType, PoseTaskStatus, Reason
from posetask_operator.core import leftovers, names
from posetask_operator.core.actions import Action, DeleteTask, Plan, RemoveFinalizer, WriteTombstone
from posetask_operator.core.conditions import Said, since
from posetask_operator.core.draft import showing
from posetask_operator.core.gang import View
from posetask_operator.core.layout import Layout
from posetask_operator.core.observed import FINALIZER, KafkaSeen, RunRecord

AWAY_LEAST_SECONDS = 120.0
"""Brokers that are away for less are not gone for good, however long ago the task was deleted."""


def cleaning(view: View) -> Plan:
    """A task that is over: GPUs at once, topics soon, Jobs and the task itself at their TTLs."""
    seen, status, timings = view.seen, view.seen.task.status, view.settings.timings
    cleanup = seen.task.spec.cleanup if seen.task.spec is not None else Cleanup()
    end = status.completion_time or since(status, ConditionType.SUCCEEDED, "True") or seen.now
    good = status.terminal is not None and status.terminal.status == "True"
    ttl = cleanup.ttl_seconds_after_success if good else cleanup.ttl_seconds_after_failure
    jobs_left = _left(seen.now, end, ttl)
    own = leftovers.own_jobs(view)
    if leftovers.orphans(view) and not seen.fresh:
        return showing(view, status, (), needs_fresh=True)
    stop = leftovers.delete(job for job in own if jobs_left <= 0 or not job.ended)
    actions: list[Action] = [*stop, *leftovers.delete_orphans(view)]
    running = any(not job.ended for job in own) or len(leftovers.alive(view)) > len(leftovers.lost(view))
    if status.cleaned_up_time is not None:
        if cleanup.delete_self and jobs_left <= 0 and not own:
            return Plan(status, (*actions, DeleteTask(seen.task.uid)), requeue_after=timings.settle)
        wait = jobs_left if cleanup.delete_self else None
        return showing(view, status, (), actions, after=(timings.settle if own else wait,))
    after: list[float | None] = [timings.settle if actions else None]
    said: list[Said] = []
    then: tuple[Action, ...] = ()
    if status.topics_deleted_time is None:
        topics_left = _left(seen.now, end, cleanup.topics_after_seconds)
        if topics_left > 0:
            after.append(topics_left)
        elif running:
            after.append(timings.settle)
        else:
            taken, then, problem, wait = _take_away(view)
            actions += taken
            after.append(wait)
            said += problem
            if not problem and not then:
                status = status.model_copy(update={"topics_deleted_time": seen.now})
                said.append(Said(ConditionType.TOPICS_READY, "False", Reason.TOPICS_DELETED))
    if own or leftovers.alive(view):
        after.append(jobs_left if jobs_left > 0 else timings.recheck)
    elif status.topics_deleted_time is not None:
        if not seen.fresh:
            return showing(view, status, said, actions, needs_fresh=True)
        status = status.model_copy(update={"cleaned_up_time": seen.now})
        said.append(Said(ConditionType.CLEANED_UP, "True", Reason.CLEANED_UP))
        said.append(Said(ConditionType.JOBS_CREATED, "False", Reason.JOBS_DELETED))
        after.append(max(jobs_left, 0.1) if cleanup.delete_self else None)
    if status.cleaned_up_time is None:
        said = [*_progress(view, jobs_left, status), *said]
    return showing(view, status, said, actions, then=then, after=after)


def deleting(view: View) -> Plan:
    """A task that somebody deleted: what it made goes, then the finalizer."""
    seen, timings = view.seen, view.settings.timings
    task, status = seen.task, seen.task.status
    if FINALIZER not in task.finalizers:
        return Plan(status)
    if status.attempt == 0:  # nothing was ever made
        return Plan(status, (RemoveFinalizer(),))
    own = leftovers.own_jobs(view)
    if own or leftovers.alive(view):
        if leftovers.orphans(view) and not seen.fresh:
            return Plan(status, needs_fresh=True)
        going: tuple[Action, ...] = (*leftovers.delete(own), *leftovers.delete_orphans(view))
        lost = leftovers.lost_pod(view)
        wait = timings.settle if going else timings.recheck
        if lost is None:
            return Plan(status, going, requeue_after=wait)
        said = (Said(ConditionType.CLEANED_UP, "False", Reason.NODE_LOST, lost.message, node=lost.word),)
        return showing(view, status, said, going, after=(wait,))
    if not seen.fresh:
        return Plan(status, needs_fresh=True)
    if status.topics_deleted_time is not None:
        return Plan(status, (RemoveFinalizer(),))
    if _gone_for_good(view):
        return _abandon(view)
    actions, then, problem, retry = _take_away(view)
    if problem or then or retry is not None:
        return showing(view, status, problem, actions, then=then, after=(retry,))
    return Plan(status, (*actions, RemoveFinalizer()))


def _take_away(
    view: View,
) -> tuple[tuple[Action, ...], tuple[Action, ...], tuple[Said, ...], float | None]:
    """Actions before and after the status, what is in the way, and when to look again."""
    kafka, timings = view.seen.kafka, view.settings.timings
    if kafka is None:
        return (), (), (Said(ConditionType.CLEANED_UP, "False", Reason.DELETING),), timings.settle
    if kafka.away_since is not None:
        away = Said(ConditionType.CLEANED_UP, "False", Reason.KAFKA_UNAVAILABLE, kafka.problem)
        return (), (), (away,), timings.cleanup_retry
    actions = leftovers.from_kafka(view, kafka)
    still = {type(action).__name__ for action in actions}
    trouble = next((t for t in view.seen.troubles if t.about in still), None)
    if trouble is None:
        return actions, (), (), None
    denied = trouble.reason == Reason.KAFKA_ACCESS_DENIED
    reason = Reason.KAFKA_ACCESS_DENIED if denied else Reason.DELETING
    if trouble.reason == Reason.KAFKA_UNAVAILABLE and trouble.about != "DeleteGroups":
        reason = Reason.KAFKA_UNAVAILABLE
    fix = trouble.hint if denied else None
    said = Said(ConditionType.CLEANED_UP, "False", reason, trouble.message, fix)
    return (), actions, (said,), 0.0  # once they go well; until then the queue's back-off counts


def _progress(view: View, jobs_left: float, status: PoseTaskStatus) -> Iterable[Said]:
    lost = leftovers.lost_pod(view)
    if lost is not None:
        yield Said(ConditionType.CLEANED_UP, "False", Reason.NODE_LOST, lost.message, node=lost.word)
    elif jobs_left > 0 or status.topics_deleted_time is None:
        yield Said(ConditionType.CLEANED_UP, "False", Reason.TTL_NOT_OVER)
    else:
        yield Said(ConditionType.CLEANED_UP, "False", Reason.DELETING)


def _gone_for_good(view: View) -> bool:
    kafka, now, limit = view.seen.kafka, view.seen.now, view.settings.timings.kafka_gone_after
    asked = view.seen.task.deleting
    if kafka is None or kafka.away_since is None or asked is None:
        return False
    away = (now - kafka.away_since).total_seconds()
    return (now - asked).total_seconds() >= limit and away >= min(limit, AWAY_LEAST_SECONDS)


def _abandon(view: View) -> Plan:
    """Write down what is left behind, where it outlives task and namespace, and let the task go."""
    task, kafka = view.seen.task, view.seen.kafka
    record = kafka.record if kafka is not None else None
    if record is None and isinstance(view.layout, Layout):
        record = names.run_record(task, view.layout, view.settings)
    if record is None:
        record = RunRecord(view.settings.installation, task.namespace, task.name, task.uid, task.run)
    text = f"{_problem(kafka)}; topics, groups and progress of run {task.run} are left behind"
    tombstone = WriteTombstone(names.tombstone_name(task.run), record, text)
    return Plan(task.status, (tombstone, RemoveFinalizer()))


def _problem(kafka: KafkaSeen | None) -> str:
    return (kafka.problem if kafka is not None else "") or "no broker answers"


def _left(now: datetime, end: datetime, seconds: int) -> float:
    return (end + timedelta(seconds=seconds) - now).total_seconds()
