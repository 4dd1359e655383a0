"""From a status that ought to be shown to the plan that shows it: what is written, when, and which events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from posetask.spec import ConditionType, PoseTaskStatus, Queue, Reason
from posetask_operator.core.actions import Action, EmitEvent, Plan, WriteStatus
from posetask_operator.core.conditions import Said, state_of, tell
from posetask_operator.core.figures import with_figures
from posetask_operator.core.gang import View

_MESSAGE = 4096
_EVENTFUL: dict[str, dict[str, str | None]] = {
    ConditionType.ADMITTED: {"True": None, "False": "trouble"},
    ConditionType.TOPICS_READY: {"False": "trouble", "Unknown": "trouble"},
    ConditionType.JOBS_CREATED: {"False": "trouble"},
    ConditionType.RUNNING: {"True": None, "False": "trouble"},
    ConditionType.SUCCEEDED: {"True": None, "False": None},
    ConditionType.SUSPENDED: {"True": None},
    ConditionType.DATA_INTACT: {"False": None},
    ConditionType.CLEANED_UP: {"False": "trouble"},
}
_ORDINARY = frozenset(
    {
        Reason.NOT_ADMITTED,
        Reason.CREATING_TOPICS,
        Reason.TOPICS_DELETED,
        Reason.NO_TOPICS_NEEDED,
        Reason.CREATING_JOBS,
        Reason.JOBS_DELETED,
        Reason.STARTING_PODS,
        Reason.ENDED,
        Reason.IN_PROGRESS,
        Reason.WAITING_FOR_GPUS,
        Reason.WAITING_FOR_TURN,
        Reason.WAITING_FOR_PODS,
        Reason.WAITING_FOR_PARTITIONS,
        Reason.BACKING_OFF,
        Reason.SUSPENDED,
        Reason.SUSPENDING,
        Reason.CANCELLED,
        Reason.TTL_NOT_OVER,
        Reason.DELETING,
        Reason.NAMESPACE_TERMINATING,
    }
)


def durable(view: View, status: PoseTaskStatus, said: Iterable[Said]) -> Plan:
    """The plan of a durable fact: it is written, and nothing that it permits is done before the next look."""
    shown = _shown(view, status, said)
    events = tuple(_events(view.seen.task.status, shown))
    return Plan(shown, (WriteStatus(shown, durable=True), *events), requeue_after=0)


def showing(
    view: View,
    status: PoseTaskStatus,
    said: Iterable[Said],
    actions: Sequence[Action] = (),
    *,
    then: Sequence[Action] = (),
    after: Iterable[float | None] = (),
    needs_fresh: bool = False,
    wants_admission: bool = False,
) -> Plan:
    """The plan that does ``actions`` and then shows the status, where it is time to.

    Args:
        view: What was seen.
        status: The stored facts, with those that this look adds.
        said: Conditions.
        actions: Before the status is written, which is shown only once they went well.
        then: After it: what may fail again, while the status says why it did.
        after: Seconds until things are due; the soonest counts.
        needs_fresh: See :class:`Plan`.
        wants_admission: See :class:`Plan`.
    """
    shown, stored = _shown(view, status, said), view.seen.task.status
    due = [seconds for seconds in after if seconds is not None]
    writes: tuple[Action, ...] = ()
    if _firm(shown) != _firm(stored):
        writes = (WriteStatus(shown), *_events(stored, shown))
    elif shown != stored:
        wait = _slow_wait(view, shown)
        if wait <= 0:
            writes = (WriteStatus(shown, slow=True),)
        else:
            due.append(wait)
    return Plan(
        shown,
        (*actions, *writes, *then),
        requeue_after=max(0.0, min(due)) if due else None,
        needs_fresh=needs_fresh,
        wants_admission=wants_admission,
    )


def _shown(view: View, status: PoseTaskStatus, said: Iterable[Said]) -> PoseTaskStatus:
    task = view.seen.task
    conditions = tell(status, said, task, view.seen.now)
    status = status.model_copy(
        update={"conditions": conditions, "observed_generation": task.generation, "run": task.run}
    )
    status = with_figures(view, status)
    suspend = task.spec is not None and task.spec.suspend
    state, why = state_of(status, suspend=suspend)
    reason, message = "", ""
    if why is not None:
        reason = why.reason
        message = f"{why.message}; {why.resolution}" if why.resolution else why.message
    return status.model_copy(update={"state": state, "reason": reason, "message": message[:_MESSAGE]})


def _firm(status: PoseTaskStatus) -> PoseTaskStatus:
    """The status without what may be written late."""
    return status.model_copy(
        update={
            "ready": "",
            "restarts": 0,
            "message": "",
            "models": (),
            "progress": None,
            "result": None,
            "stages": (),
            "queue": Queue(position=1) if status.queue is not None else None,
            "conditions": tuple((c.type, c.status, c.reason) for c in status.conditions),
        }
    )


def _slow_wait(view: View, shown: PoseTaskStatus) -> float:
    written, timings = view.seen.slow_written_at, view.settings.timings
    if written is None:
        return 0.0
    every = timings.queue_every if shown.queue is not None else timings.progress_every
    return every - (view.seen.now - written).total_seconds()


def _events(before: PoseTaskStatus, after: PoseTaskStatus) -> Iterator[EmitEvent]:
    known: dict[str, Any] = {c.type: (c.status, c.reason) for c in before.conditions}
    for condition in after.conditions:
        if known.get(condition.type) == (condition.status, condition.reason):
            continue
        kinds = _EVENTFUL.get(condition.type, {})
        if condition.status not in kinds:
            continue
        ordinary = condition.reason in _ORDINARY
        if kinds[condition.status] == "trouble" and ordinary:
            continue
        good = condition.status == "True" or ordinary
        text = f"{condition.message}; {condition.resolution}" if condition.resolution else condition.message
        yield EmitEvent("Normal" if good else "Warning", condition.reason, text[:1000])
