"""A task that holds nothing, or gives back what its last attempt held: it waits for its admission."""

from __future__ import annotations

from posetask.spec import ConditionType, Queue, Reason
from posetask_operator.core import figures, leftovers
from posetask_operator.core.actions import Action, Plan
from posetask_operator.core.conditions import Said, is_true
from posetask_operator.core.draft import durable, showing
from posetask_operator.core.gang import View
from posetask_operator.core.layout import Layout, Problem
from posetask_operator.core.observed import Granted, Waiting
from posetask_operator.core.plan_end import failed


def waiting(view: View) -> Plan:
    """What to do about a task without an active attempt."""
    seen, status, timings = view.seen, view.seen.task.status, view.settings.timings
    left = leftovers.own_jobs(view) or leftovers.alive(view)
    if status.attempt > 0 and left:
        return _giving_back(view)
    spec, layout = seen.task.spec, view.layout
    if spec is None or layout is None:
        return _blocked(view, Reason.INVALID_SPEC, seen.task.problem)
    if spec.suspend:
        return _suspended(view)
    if isinstance(layout, Problem):
        if layout.final:
            return failed(view, layout.reason, layout.message)
        return _blocked(view, layout.reason, layout.message)
    budget = layout.profile.gpus
    if budget is not None and layout.gpus > budget:
        text = f"the task needs {layout.gpus} GPUs at once, and profile {layout.profile_name} has {budget}"
        return failed(view, Reason.DOES_NOT_FIT, text)
    if seen.namespace_terminating:
        return _blocked(view, Reason.NAMESPACE_TERMINATING)
    if status.requeue_time is not None and status.requeue_time > seen.now:
        return _backing_off(view)
    if layout.secrets and seen.secrets is None:
        return showing(view, status, (), after=(timings.settle,))
    missing = sorted(layout.secrets - (seen.secrets or frozenset()))
    if missing:
        text = f"Secret {', '.join(missing)} is not in namespace {seen.task.namespace}"
        return _blocked(view, Reason.SECRET_MISSING, text)
    if seen.kafka is None:
        return showing(view, status, (), after=(timings.settle,))
    if seen.kafka.away_since is not None:
        return _blocked(view, Reason.KAFKA_UNAVAILABLE, seen.kafka.problem, after=timings.cleanup_retry)
    if seen.verdict is None:
        return Plan(status, requeue_after=timings.recheck, wants_admission=True)
    if isinstance(seen.verdict, Waiting):
        return _queued(view, seen.verdict)
    return _admitted(view, layout, seen.verdict)


def _base(view: View) -> tuple[Said, ...]:
    """What is said of every task that waits."""
    status = view.seen.task.status
    never = status.attempt == 0
    said: tuple[Said, ...] = (
        Said(ConditionType.SUCCEEDED, "Unknown", Reason.IN_PROGRESS),
        Said(ConditionType.SUSPENDED, "False", Reason.NOT_SUSPENDED),
        Said(ConditionType.CLEANED_UP, "False", Reason.IN_PROGRESS),
        Said(ConditionType.JOBS_CREATED, "False", Reason.NOT_ADMITTED if never else Reason.JOBS_DELETED),
        figures.intact(view, status),
    )
    if never:
        said = (
            *said,
            Said(ConditionType.TOPICS_READY, "False", Reason.NOT_ADMITTED),
            Said(ConditionType.RUNNING, "False", Reason.NOT_ADMITTED),
        )
    return said


def _giving_back(view: View) -> Plan:
    seen, timings = view.seen, view.settings.timings
    if leftovers.orphans(view) and not seen.fresh:
        return showing(view, seen.task.status, (), needs_fresh=True)
    actions: tuple[Action, ...] = (
        *leftovers.delete(leftovers.own_jobs(view)),
        *leftovers.delete_orphans(view),
    )
    lost = leftovers.lost_pod(view)
    spec = seen.task.spec
    suspend = spec is not None and spec.suspend
    if lost is not None:
        admitted = Said(ConditionType.ADMITTED, "False", Reason.NODE_LOST, lost.message, node=lost.word)
    elif suspend:
        admitted = Said(ConditionType.ADMITTED, "False", Reason.SUSPENDED)
    else:
        count = len(leftovers.alive(view))
        text = f"{count} pods of attempt {seen.task.status.attempt} are still terminating" if count else ""
        admitted = Said(ConditionType.ADMITTED, "False", Reason.WAITING_FOR_PODS, text)
    said = (*_base(view), admitted)
    if suspend:
        said = (*said, Said(ConditionType.SUSPENDED, "False", Reason.SUSPENDING))
    status = seen.task.status.model_copy(update={"queue": None})
    return showing(view, status, said, actions, after=(timings.settle if actions else timings.recheck,))


def _suspended(view: View) -> Plan:
    seen, status = view.seen, view.seen.task.status
    if status.attempt > 0 and not seen.fresh and not is_true(status, ConditionType.SUSPENDED):
        return showing(view, status, (), needs_fresh=True)
    said = [
        *_base(view),
        Said(ConditionType.SUSPENDED, "True", Reason.SUSPENDED),
        Said(ConditionType.ADMITTED, "False", Reason.SUSPENDED),
    ]
    status = status.model_copy(update={"queue": None, "queued_time": None})
    return showing(view, status, said)


def _blocked(view: View, reason: Reason, message: str = "", *, after: float | None = None) -> Plan:
    """Nothing to do until others mend something."""
    status = view.seen.task.status.model_copy(update={"queue": None})
    said = (*_base(view), Said(ConditionType.ADMITTED, "False", reason, message))
    return showing(view, status, said, after=(after or view.settings.timings.recheck,))


def _backing_off(view: View) -> Plan:
    seen, status = view.seen, view.seen.task.status
    before = status.condition(ConditionType.ADMITTED)
    said = Said(ConditionType.ADMITTED, "False", Reason.BACKING_OFF)
    if before is not None and before.reason == Reason.BACKING_OFF:
        said = Said(ConditionType.ADMITTED, "False", Reason.BACKING_OFF, before.message, before.resolution)
    wait = (status.requeue_time - seen.now).total_seconds() if status.requeue_time is not None else 0.0
    return showing(view, status.model_copy(update={"queue": None}), (*_base(view), said), after=(wait,))


def _queued(view: View, verdict: Waiting) -> Plan:
    seen = view.seen
    stored = seen.task.status
    queue = Queue(position=verdict.position, reason=verdict.message[:1024]) if verdict.position else None
    status = stored.model_copy(update={"queue": queue, "queued_time": stored.queued_time or seen.now})
    said = (*_base(view), Said(ConditionType.ADMITTED, "False", Reason(verdict.reason), verdict.message))
    return showing(view, status, said, after=(view.settings.timings.recheck,), wants_admission=True)


def _admitted(view: View, layout: Layout, verdict: Granted) -> Plan:
    seen, stored = view.seen, view.seen.task.status
    if stored.attempt > 0 and not seen.fresh:  # no Job and no pod of the attempt before may be left
        return Plan(stored, needs_fresh=True, wants_admission=True)
    status = stored.model_copy(
        update={
            "attempt": stored.attempt + 1,
            "admitted_time": seen.now,
            "requeue_time": None,
            "queue": None,
            "queued_time": stored.queued_time or seen.task.created,
        }
    )
    said = [
        *_base(view),
        Said(ConditionType.ADMITTED, "True", Reason.ADMITTED, f"attempt {status.attempt}{_share(layout)}"),
        Said(ConditionType.JOBS_CREATED, "False", Reason.CREATING_JOBS),
        Said(ConditionType.RUNNING, "False", Reason.STARTING_PODS),
    ]
    if stored.attempt == 0 and not layout.fused:
        said.append(Said(ConditionType.TOPICS_READY, "False", Reason.CREATING_TOPICS))
    made = durable(view, status, said)
    return Plan(made.status, made.actions, requeue_after=0, wants_admission=True)


def _share(layout: Layout) -> str:
    where = f" in profile {layout.profile_name}"
    return f", {layout.gpus} GPUs{where}" if layout.gpus else where
