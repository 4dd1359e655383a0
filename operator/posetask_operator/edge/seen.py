"""Objects of the API server to the plain facts that a plan reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from posetask.spec import PoseTaskSpec, PoseTaskStatus
from posetask_operator.core.names import ATTEMPT_LABEL, STAGE_LABEL
from posetask_operator.core.observed import JobSeen, PodSeen, TaskSeen

Json = Mapping[str, Any]


def task_seen(body: Json) -> TaskSeen:
    """A PoseTask.

    Raises:
        ValidationError: The status cannot be read: without its facts nothing may be decided.
    """
    meta = body["metadata"]
    spec, problem = None, ""
    try:
        spec = PoseTaskSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        problem = "; ".join(
            f"spec.{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()[:5]
        )
    return TaskSeen(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=int(meta.get("generation") or 0),
        created=moment(meta["creationTimestamp"]),
        spec=spec,
        status=PoseTaskStatus.model_validate(body.get("status") or {}),
        deleting=moment(meta["deletionTimestamp"]) if meta.get("deletionTimestamp") else None,
        finalizers=tuple(meta.get("finalizers") or ()),
        problem=problem,
    )


def job_seen(body: Json) -> JobSeen:
    """A Job."""
    meta, status = body["metadata"], body.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    stage, attempt = _labels(meta)
    return JobSeen(
        name=meta["name"],
        uid=meta["uid"],
        stage=stage,
        attempt=attempt,
        owner_uid=_controller(meta),
        deleting=bool(meta.get("deletionTimestamp")),
        active=int(status.get("active") or 0),
        ready=int(status.get("ready") or 0),
        succeeded=int(status.get("succeeded") or 0),
        failed=int(status.get("failed") or 0),
        complete="Complete" in conditions,
        failed_reason=str(failed.get("reason") or "Failed") if failed else None,
        failed_message=str(failed.get("message") or "") if failed else "",
    )


def pod_seen(body: Json, accelerator: str | None) -> PodSeen:
    """A pod.

    Args:
        body: As the API server gives it.
        accelerator: Resource to count; None counts none.
    """
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    ended = _ended(status)
    waiting = _waiting(status)
    scheduled = conditions.get("PodScheduled") or {}
    stage, attempt = _labels(meta)
    return PodSeen(
        name=meta["name"],
        uid=meta["uid"],
        stage=stage,
        attempt=attempt,
        job_uid=_controller(meta),
        phase=str(status.get("phase") or "Pending"),
        ready=_true(conditions, "Ready"),
        grace_ends=moment(meta["deletionTimestamp"]) if meta.get("deletionTimestamp") else None,
        node=spec.get("nodeName"),
        gpus=gpus_of(spec, accelerator),
        exit_code=ended.get("exitCode"),
        reason=str(ended.get("reason") or status.get("reason") or ""),
        message=str(ended.get("message") or status.get("message") or "")[:4096],
        waiting=str(waiting.get("reason") or ""),
        waiting_message=str(waiting.get("message") or ""),
        unschedulable=(
            str(scheduled.get("message") or "unschedulable")
            if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
            else ""
        ),
        disrupted=_true(conditions, "DisruptionTarget"),
    )


def moment(text: str) -> datetime:
    """A time of the API server.

    >>> moment("2026-01-31T12:00:00Z").hour
    12
    """
    return datetime.fromisoformat(text).astimezone(UTC)


def _labels(meta: Json) -> tuple[str, int]:
    labels = meta.get("labels") or {}
    attempt = str(labels.get(ATTEMPT_LABEL, "0"))
    return str(labels.get(STAGE_LABEL, "")), int(attempt) if attempt.isdecimal() else 0


def _controller(meta: Json) -> str | None:
    return next((str(o["uid"]) for o in meta.get("ownerReferences") or () if o.get("controller")), None)


def _true(conditions: Mapping[str, Json], kind: str) -> bool:
    return (conditions.get(kind) or {}).get("status") == "True"


def _ended(status: Json) -> Json:
    # The stage's own container; where that never ran, the init container that failed.
    groups = (status.get("containerStatuses") or (), status.get("initContainerStatuses") or ())
    for number, group in enumerate(groups):
        for container in group:
            state = container.get("state") or {}
            found = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
            if found and (number == 0 or found.get("exitCode")):
                return dict(found)
    return {}


def _waiting(status: Json) -> Json:
    usual = {"ContainerCreating", "PodInitializing", ""}
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(group) or ():
            found = (container.get("state") or {}).get("waiting") or {}
            if str(found.get("reason") or "") not in usual:
                return dict(found)
    return {}


def gpus_of(spec: Json, accelerator: str | None) -> int:
    """Accelerators that a pod's specification asks for; 0 where none are counted."""
    if accelerator is None:
        return 0

    def wanted(container: Json) -> int:
        resources = container.get("resources") or {}
        amount = (resources.get("limits") or {}).get(accelerator)
        amount = (resources.get("requests") or {}).get(accelerator, 0) if amount is None else amount
        return int(amount) if str(amount).isdecimal() else 0

    together = sum(wanted(c) for c in spec.get("containers") or ())
    return max([together, *(wanted(c) for c in spec.get("initContainers") or ())])
