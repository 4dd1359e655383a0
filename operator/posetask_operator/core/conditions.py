"""Conditions: what is said now beside what was said before, and the state that follows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from posetask.spec import Condition, ConditionStatus, ConditionType, PoseTaskStatus, Reason, State
from posetask_operator.core.observed import TaskSeen

_MESSAGE, _RESOLUTION = 4096, 2048
_QUEUED = frozenset(
    {
        Reason.WAITING_FOR_GPUS,
        Reason.WAITING_FOR_TURN,
        Reason.WAITING_FOR_PODS,
        Reason.WAITING_FOR_PARTITIONS,
        Reason.BACKING_OFF,
    }
)


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be said of a task.

    Attributes:
        resolution: None: what the reason says.
        job, node: Put into the resolution in the place of JOB and NODE.
    """

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""
    resolution: str | None = None
    job: str = ""
    node: str = ""


def tell(
    status: PoseTaskStatus, said: Iterable[Said], task: TaskSeen, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with what is said now; a type of which nothing is said stays as it was.

    ``lastTransitionTime`` moves with the status alone, as the API conventions have it.
    """
    found = {condition.type: condition for condition in status.conditions}
    for one in said:
        before = found.get(one.type)
        same = before is not None and before.status == one.status
        general = one.reason.resolution if one.resolution is None else one.resolution
        found[one.type] = Condition(
            type=one.type,
            status=one.status,
            reason=one.reason,
            message=(one.message or one.reason.meaning)[:_MESSAGE],
            resolution=fill(general, task, job=one.job, node=one.node)[:_RESOLUTION],
            last_transition_time=before.last_transition_time if same and before is not None else now,
            observed_generation=task.generation,
        )
    order = {kind.value: number for number, kind in enumerate(ConditionType)}
    return tuple(sorted(found.values(), key=lambda c: order.get(c.type, len(order))))


def fill(text: str, task: TaskSeen, *, job: str = "", node: str = "") -> str:
    """A resolution with the names of the task, so that its commands can be copied.

    >>> from posetask_operator.core.observed import TaskSeen
    >>> task = TaskSeen("lab", "demo", "u", "1", 1, datetime(2026, 1, 1), None, PoseTaskStatus())
    >>> fill("kubectl patch pt NAME -p x", task)
    'kubectl patch -n lab pt demo -p x'
    """
    text = text.replace("kubectl patch pt NAME", f"kubectl patch -n {task.namespace} pt {task.name}")
    pods = f"kubectl get pods -n {task.namespace} -l posetask.io/task={task.name}"
    text = text.replace("kubectl get pods -l posetask.io/task=NAME", pods)
    if job:
        text = re.sub(r"kubectl logs job/JOB\b", f"kubectl logs -n {task.namespace} job/{job}", text)
    return re.sub(r"\bNODE\b", node, text) if node else text


def fitting(kind: ConditionType, reason: Reason, otherwise: Reason) -> Reason:
    """The reason where it may stand in that condition (reasons.yaml says), the other one where not."""
    return reason if kind in reason.words.conditions else otherwise


def is_true(status: PoseTaskStatus, kind: ConditionType) -> bool:
    """Whether the condition is True."""
    found = status.condition(kind)
    return found is not None and found.status == "True"


def since(status: PoseTaskStatus, kind: ConditionType, value: ConditionStatus) -> datetime | None:
    """Since when the condition has this status; None where it has not."""
    found = status.condition(kind)
    return found.last_transition_time if found is not None and found.status == value else None


def state_of(status: PoseTaskStatus, *, suspend: bool) -> tuple[State, Condition | None]:
    """The state for people, and the condition that explains it best."""
    end = status.terminal
    if end is not None:
        if end.status == "True":
            return "Succeeded", end
        return ("Cancelled" if end.reason == Reason.CANCELLED else "Failed"), end
    admitted = status.condition(ConditionType.ADMITTED)
    if admitted is not None and admitted.status == "True":
        running = status.condition(ConditionType.RUNNING)
        if running is not None and running.status == "True":
            return "Running", running
        for kind in (ConditionType.TOPICS_READY, ConditionType.JOBS_CREATED):
            found = status.condition(kind)
            if found is not None and found.status != "True":
                return "Starting", found
        return "Starting", running
    if suspend:
        return "Suspended", status.condition(ConditionType.SUSPENDED)
    if admitted is not None and admitted.reason in _QUEUED:
        return "Queued", admitted
    return "Pending", admitted
