"""What the children of a task are called, and the labels by which they are found."""

from __future__ import annotations

import hashlib

from posetask.transport.kafka.names import group_name, topic_name
from posetask_operator.core.layout import Layout
from posetask_operator.core.observed import RunRecord, TaskSeen
from posetask_operator.settings import Settings

RUN_LABEL = "posetask.io/run"
TASK_LABEL = "posetask.io/task"
STAGE_LABEL = "posetask.io/stage"
ATTEMPT_LABEL = "posetask.io/attempt"
INSTALLATION_LABEL = "posetask.io/installation"
EGRESS_LABEL = "egress.posetask.io/"
MANAGER = {"app.kubernetes.io/name": "posetask", "app.kubernetes.io/managed-by": "posetask-operator"}

_JOB_LIMIT = 57  # a pod's host name is this, a dash and its index, in 63 characters


def job_name(run: str, stage: str, attempt: int) -> str:
    """Name of a stage's Job; always the same, so that making it twice is found out.

    >>> job_name("demo-1f2e3d4c", "yolox", 1)
    'demo-1f2e3d4c-yolox-1'
    >>> len(job_name("a" * 40 + "-1f2e3d4c", "b" * 24, 10))
    57
    """
    whole = f"{run}-{stage}-{attempt}"
    if len(whole) <= _JOB_LIMIT:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: _JOB_LIMIT - 9].rstrip('-')}-{digest}".ljust(_JOB_LIMIT, "0")


def tombstone_name(run: str) -> str:
    """ConfigMap in the operator's namespace that says what a task left on the brokers.

    >>> tombstone_name("demo-1f2e3d4c")
    'posetask-abandoned-demo-1f2e3d4c'
    """
    return f"posetask-abandoned-{run}"


def run_record(task: TaskSeen, layout: Layout, settings: Settings) -> RunRecord:
    """What there will be to take away."""
    return RunRecord(
        installation=settings.installation,
        namespace=task.namespace,
        name=task.name,
        uid=task.uid,
        run=task.run,
        topics=tuple(topic_name(topic, task.run) for topic in layout.topics),
        groups=tuple(group_name(s.name, task.run) for s in layout.within if s.inputs and not layout.fused),
        stages=tuple(dict.fromkeys(s.name for s in (*layout.within, *layout.stages))),
    )
