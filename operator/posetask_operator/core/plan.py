"""Observe -> **plan** -> apply: the one decision about a task, as a pure function.

How the edge uses it, once for every look at a task::

    wanted = look_at(task, settings)         # which Secrets, Kafka facts and GPUs to bring
    seen = Observed(...)                     # from the watches' cache: fresh=False
    admission.report(task.key, holding(seen, settings))
    made = plan(seen, settings)
    while made.needs_fresh or (made.wants_admission and seen.verdict is None):
        if made.needs_fresh:                 # absence matters: list the run's Jobs and pods anew
            seen = replace(seen, jobs=..., pods=..., fresh=True)
            admission.report(task.key, holding(seen, settings))
        else:                                # request() is never None where admission is wanted
            seen = replace(seen, verdict=admission.ask(request(seen, settings), seen.now))
        made = plan(seen, settings)
    if not made.wants_admission:
        admission.withdraw(task.key)         # does nothing for a task that is in no queue
    apply(made.actions)                      # in order, to the first that fails: a Trouble next time
    requeue(made.requeue_after)
    for key in admission.ready():            # others that would be admitted if they were looked at now
        queue.add(key)

A task that is gone: ``admission.forget(key)``. At the start: ``admission.expect(all keys)``. A Trouble is
dropped once the same kind of action went well. ``slow_written_at`` is when any ``WriteStatus`` went out last.
The task itself must be the one that was read last, or the answer to our own last write.

Rules that hold everywhere:

- What permits actions is written first. A plan with a durable fact holds that one ``WriteStatus`` (and
  events, which may get lost); the actions follow at the next look, which reads the stored fact back.
- An active attempt is one whose ``admittedTime`` is set; an ended one has none. Terminal is ``Succeeded``
  True or False. ``state`` is never read.
- Nothing that exists is ever compared with what would be made of it now: an upgrade restarts nothing.
- Order: deleting, finalizer, terminal (clean-up), cancel, active, waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from posetask_operator.core.actions import AddFinalizer, Plan
from posetask_operator.core.gang import View, view
from posetask_operator.core.layout import Layout, resolve
from posetask_operator.core.observed import FINALIZER, Observed, TaskSeen
from posetask_operator.core.plan_active import active
from posetask_operator.core.plan_cleanup import cleaning, deleting
from posetask_operator.core.plan_end import cancelled
from posetask_operator.core.plan_waiting import waiting
from posetask_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class LookAt:
    """What an observation must bring beside the task, its Jobs and its pods.

    Attributes:
        kafka: The brokers.
        groups: Consumer groups too.
        secrets: Which of these Secrets exist in the task's namespace.
        accelerator: Resource of which the pods' requests are counted.
    """

    kafka: bool
    groups: bool
    secrets: frozenset[str]
    accelerator: str | None


def look_at(task: TaskSeen, settings: Settings) -> LookAt:
    """What ``plan`` will want to know of a task."""
    status = task.status
    ended = status.terminal is not None
    never = status.attempt == 0 and (ended or task.deleting is not None)
    gone = status.topics_deleted_time is not None
    layout = resolve(task.spec, task.namespace, settings) if task.spec is not None else None
    laid = layout if isinstance(layout, Layout) else None
    going = ended or task.deleting is not None
    return LookAt(
        kafka=not never and not gone,
        groups=going and not never and not gone,
        secrets=laid.secrets if laid is not None and not going else frozenset(),
        accelerator=laid.profile.accelerator if laid is not None else None,
    )


def plan(seen: Observed, settings: Settings) -> Plan:
    """What to do about a task now, and when to look again."""
    found: View = view(seen, settings)
    task = seen.task
    if task.deleting is not None:
        return deleting(found)
    if FINALIZER not in task.finalizers:
        return Plan(task.status, (AddFinalizer(),), requeue_after=0)
    if task.status.terminal is not None:
        return cleaning(found)
    if task.spec is not None and task.spec.cancel:
        return cancelled(found)
    if task.status.admitted_time is not None:
        return active(found)
    return waiting(found)
