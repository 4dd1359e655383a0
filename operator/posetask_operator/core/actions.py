"""What a plan may ask for: a closed set, each action small, idempotent, and safe to be cut off after.

The edge applies them in order and stops at the first that fails; it then tells the next reconcile as a
``Trouble``. A ``WriteStatus`` that is ``durable`` is alone in its plan with what permits it: nothing that it
permits is done before it is stored, so a crash at any point leaves the facts that the next process needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from posetask.spec.status import PoseTaskStatus
from posetask.transport.kafka.topics import TopicSpec
from posetask_operator.core.observed import RunRecord


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Ours, with resourceVersion; before anything else is made."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Ours: nothing is left, or what is left is written down."""


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Replace the whole status, with the resourceVersion that was observed; a 409 means: look again.

    Attributes:
        durable: It holds a fact that permits actions: written at once, and the task is looked at again.
        slow: It holds nothing but progress, ready counts or a queue position.
    """

    status: PoseTaskStatus
    durable: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """An event at the task; losing one is no harm, so its failure stops nothing."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RecordRun:
    """To ``posetask_runs``, acknowledged: what the sweeper may take away should we be gone."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class CreateTopics:
    """In one call, confirmed; topics that are there are taken over."""

    topics: tuple[TopicSpec, ...]


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create or adopt: on 409 it is ours if its controller has the task's uid, and a Trouble if not."""

    name: str
    stage: str
    attempt: int
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """With propagationPolicy Foreground (batch/v1's default orphans pods) and the uid as precondition."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """A pod whose Job is gone, with its uid as precondition and its own grace; never forced."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeleteGroups:
    """Consumer groups; one that is not empty yet is a retryable Trouble."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteTopics:
    """In one call, confirmed gone."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TombstoneProgress:
    """The run's keys leave ``posetask_progress``."""

    run: str
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForgetRun:
    """The run's record leaves ``posetask_runs``: nothing of it is left on the brokers."""

    run: str


@dataclass(frozen=True, slots=True)
class WriteTombstone:
    """A ConfigMap ``name`` in the operator's own namespace: what could not be taken away. Create or adopt.

    Written with an event there and a metric, before the finalizer is released.
    """

    name: str
    record: RunRecord
    message: str


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """The PoseTask itself (``cleanup.deleteSelf``), with its uid as precondition."""

    uid: str


Action = (
    AddFinalizer
    | RemoveFinalizer
    | WriteStatus
    | EmitEvent
    | RecordRun
    | CreateTopics
    | CreateJob
    | DeleteJob
    | DeletePod
    | DeleteGroups
    | DeleteTopics
    | TombstoneProgress
    | ForgetRun
    | WriteTombstone
    | DeleteTask
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to look again.

    Attributes:
        status: What the status should say, written or not yet due.
        actions: In order.
        requeue_after: Seconds; 0 at once (once the actions are applied), None when something happens.
        needs_fresh: Look again now, with lists from the API server: the plan hinges on something's absence.
        wants_admission: The task waits in the queue; without it admission forgets the task's request.
    """

    status: PoseTaskStatus
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None
    needs_fresh: bool = False
    wants_admission: bool = False
