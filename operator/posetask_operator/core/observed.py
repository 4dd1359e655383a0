"""What one reconcile saw of one task: plain facts, already picked out of what API server and Kafka answered.

``now`` is part of it, so that planning needs no clock. Times are aware, in UTC. A collection that was not
looked at is None, never empty: an empty one says that nothing is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from posetask.spec.spec import PoseTaskSpec
from posetask.spec.status import PoseTaskStatus
from posetask.transport.kafka.names import run_id

FINALIZER = "posetask.io/cleanup"


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """The PoseTask itself.

    Attributes:
        deleting: Its deletionTimestamp.
        spec: None where it cannot be read, and ``problem`` says why (an object of another version's schema).
        status: As stored; the durable facts are in it. An empty one where there is none yet.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: datetime
    spec: PoseTaskSpec | None
    status: PoseTaskStatus
    deleting: datetime | None = None
    finalizers: tuple[str, ...] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def run(self) -> str:
        """Id of the run: of its topics, Jobs and results."""
        return run_id(self.name, self.uid)


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A Job in the task's namespace that carries the run's label, or one of the names that we would take.

    Attributes:
        stage, attempt: From our labels; "" and 0 where it has none.
        owner_uid: Of its controller; a Job with our name and another owner is a stranger's.
        deleting: It has a deletionTimestamp.
        ready: Pods that are ready.
        complete: Condition Complete.
        failed_reason: Of the condition Failed or FailureTarget; None where it has neither.
    """

    name: str
    uid: str
    stage: str
    attempt: int
    owner_uid: str | None
    deleting: bool = False
    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    complete: bool = False
    failed_reason: str | None = None
    failed_message: str = ""

    @property
    def ended(self) -> bool:
        """It will start no pod any more."""
        return self.complete or self.failed_reason is not None


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod with the run's label.

    Attributes:
        phase: Pending, Running, Succeeded, Failed or Unknown.
        grace_ends: Kubernetes' deletionTimestamp, where it was asked to go: it is the END of the grace.
        gpus: Accelerators that its containers request, of the profile's resource.
        exit_code: Of the stage's container, where it ended.
        reason: Of the container's end (OOMKilled, Error), or of the pod's (Evicted).
        message: The termination message: one line of JSON where the stage could write it.
        waiting: Reason of a container that cannot start (ImagePullBackOff), with ``waiting_message``.
        unschedulable: Message of PodScheduled=False.
        disrupted: Condition DisruptionTarget: evicted, preempted, its node drained.
    """

    name: str
    uid: str
    stage: str
    attempt: int
    job_uid: str | None
    phase: str
    ready: bool = False
    grace_ends: datetime | None = None
    node: str | None = None
    gpus: int = 0
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    waiting: str = ""
    waiting_message: str = ""
    unschedulable: str = ""
    disrupted: bool = False

    @property
    def alive(self) -> bool:
        """It may still run, and holds what it requested; terminating pods do."""
        return self.phase not in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What ``posetask_runs`` says of the run: what there is to take away, whatever became of the spec."""

    installation: str
    namespace: str
    name: str
    uid: str
    run: str
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KafkaSeen:
    """What the brokers hold of the run.

    Attributes:
        away_since: None where they answer; otherwise since when they do not, and ``problem`` says why.
        record: Of ``posetask_runs``; None where there is none.
        topics: Those of the run that exist, with their partitions.
        groups: Those of the run that exist; None where nobody asked (only a clean-up needs them).
        progress_keys: Stages of the run with a record on ``posetask_progress``.
        partitions: Of all topics of the cluster; None where unknown.
    """

    away_since: datetime | None = None
    problem: str = ""
    record: RunRecord | None = None
    topics: Mapping[str, int] = field(default_factory=dict)
    groups: frozenset[str] | None = None
    progress_keys: frozenset[str] = frozenset()
    partitions: int | None = None


@dataclass(frozen=True, slots=True)
class FailureSeen:
    """An error of the tree, as a stage wrote it: see ``posetask.runtime.reports.Failure``."""

    reason: str
    message: str
    hint: str = ""
    retryable: bool = False
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class ReportSeen:
    """The last word of a stage on ``posetask_progress``.

    Attributes:
        state: starting, running, done, stopped or failed.
        at: The record's time; stages write when their state or count of frames changes, so it is also when
            the stage last advanced.
        facts: What the stage says of itself: the producer's ``decode``, the annotator's counts, ``model``.
    """

    stage: str
    state: str
    at: datetime
    frames: int = 0
    quarantined: int = 0
    lag: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: FailureSeen | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """Admission reserved what the task needs."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Admission says: not yet.

    Attributes:
        position: 1 is next; 0 where it stands in no queue (it can never fit).
        reason: CamelCase, as in a condition.
        message: For people, with what to do next where there is something.
    """

    position: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong when the last plan of this task was applied, and has not been applied since.

    Attributes:
        about: The action's class: CreateTopics, CreateJob, DeleteTopics, …
        retryable: False where only a person can mend it.
    """

    about: str
    reason: str
    message: str
    hint: str = ""
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Observed:
    """All that ``plan`` may know.

    Attributes:
        fresh: Jobs and pods were listed from the API server, not from a watch's cache, after everything that
            we wrote: only then does absence say anything. See ``Plan.needs_fresh``.
        jobs, pods: Of the run's label; every Job that has a name which we would take.
        secrets: Names of Secrets that exist in the namespace, of those that ``needs`` names.
        unreachable: Nodes that do not answer (Ready is Unknown).
        kafka: None where nobody looked.
        reports: By stage.
        verdict: Of admission, where the task asks for it; None where admission was not asked.
        troubles: Of the last apply.
        slow_written_at: When progress or a queue position was last written; None at the first look.
        namespace_terminating: Nothing can be created there any more.
    """

    now: datetime
    task: TaskSeen
    jobs: tuple[JobSeen, ...] = ()
    pods: tuple[PodSeen, ...] = ()
    fresh: bool = True
    secrets: frozenset[str] | None = None
    unreachable: frozenset[str] = frozenset()
    kafka: KafkaSeen | None = None
    reports: Mapping[str, ReportSeen] = field(default_factory=dict)
    verdict: Granted | Waiting | None = None
    troubles: tuple[Trouble, ...] = ()
    slow_written_at: datetime | None = None
    namespace_terminating: bool = False
