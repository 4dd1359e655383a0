"""The Job of a stage, as a plain dict: built once for an attempt, and never compared with a live one.

References: Kubernetes' Job API (podFailurePolicy, podReplacementPolicy) and its restricted pod security
standard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from posetask.errors import PoseTaskError
from posetask.spec import API_VERSION, KIND, PoseTaskSpec
from posetask.spec.stage import Resources as GivenResources
from posetask_operator.core import names
from posetask_operator.core.layout import Layout, StageRun
from posetask_operator.core.observed import TaskSeen
from posetask_operator.settings import Profile, Resources, SecretUse, Settings

CONTAINER = "stage"
_PREFIX = "POSETASK_STAGE_"
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_SCRATCH = "/tmp"  # noqa: S108 - the pod's own volume: its root is read-only


def permanent_exit_codes() -> tuple[int, ...]:
    """Exit codes that a retry cannot mend: those of ``posetask.errors`` that stand for nothing retryable.

    >>> permanent_exit_codes()
    (20, 21, 22, 23, 24, 25, 26)
    """
    final: set[int] = set()
    passing: set[int] = set()
    for kind in _tree(PoseTaskError):
        (passing if kind.retryable else final).add(kind.exit_code)
    return tuple(sorted(code for code in final - passing if code >= 20))


def _tree(root: type[PoseTaskError]) -> Iterator[type[PoseTaskError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == PoseTaskError.__module__:
            yield kind
            yield from _tree(kind)


def labels(task: TaskSeen, stage: str, attempt: int, settings: Settings) -> dict[str, str]:
    """Of a Job and of its pods."""
    return names.MANAGER | {
        names.RUN_LABEL: task.run,
        names.TASK_LABEL: task.name,
        names.STAGE_LABEL: stage,
        names.ATTEMPT_LABEL: str(attempt),
        names.INSTALLATION_LABEL: settings.installation,
    }


def job(
    task: TaskSeen, spec: PoseTaskSpec, layout: Layout, stage: StageRun, attempt: int, settings: Settings
) -> dict[str, Any]:
    """The Job's manifest.

    Without ``ttlSecondsAfterFinished`` (an expired Job would be made again), ``activeDeadlineSeconds`` and
    ``suspend`` (the plan enforces deadlines, and a suspended task has no Jobs).
    """
    marks = labels(task, stage.name, attempt, settings)
    egress = {f"{names.EGRESS_LABEL}{name}": "true" for name in stage.type.egress}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(task.run, stage.name, attempt),
            "namespace": task.namespace,
            "labels": marks,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": task.name,
                    "uid": task.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "completionMode": "Indexed",  # a pod knows which replica it is
            "completions": stage.replicas,
            "parallelism": stage.replicas,
            "backoffLimit": settings.pod_failures,
            "podReplacementPolicy": "Failed",  # never two pods of one replica
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": list(permanent_exit_codes()),
                        },
                    },
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            "template": {
                "metadata": {"labels": marks | egress},
                "spec": _pod(task, spec, layout, stage, settings),
            },
        },
    }


def _pod(
    task: TaskSeen, spec: PoseTaskSpec, layout: Layout, stage: StageRun, settings: Settings
) -> dict[str, Any]:
    profile, timings = layout.profile, settings.timings
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": timings.pod_grace,
        "serviceAccountName": layout.grant.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(task, spec, layout, stage, settings)],
        "volumes": [{"name": "scratch", "emptyDir": {}}, *_volumes(stage.secrets)],
    }
    if profile.node_selector:
        pod["nodeSelector"] = dict(profile.node_selector)
    if profile.tolerations:
        pod["tolerations"] = [t.model_dump(exclude_none=True) for t in profile.tolerations]
    if profile.runtime_class is not None:
        pod["runtimeClassName"] = profile.runtime_class
    if profile.priority_class is not None:
        pod["priorityClassName"] = profile.priority_class
    return pod


def _container(
    task: TaskSeen, spec: PoseTaskSpec, layout: Layout, stage: StageRun, settings: Settings
) -> dict[str, Any]:
    kind, timings = stage.type, settings.timings
    name = kind.stage or stage.kind
    command = list(kind.command) or (["posetask", "fused"] if layout.fused else ["posetask", "stage", name])
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": kind.image,
        "command": command,
        "env": list(environment(task, spec, layout, stage, settings)),
        "ports": [{"name": "http", "containerPort": kind.port}],
        "startupProbe": _probe("/healthz", 5, -(-timings.start_most // 5)),
        "livenessProbe": _probe("/healthz", 20, 3),
        "readinessProbe": _probe("/readyz", 2, 1),
        "resources": _resources(stage, layout.profile),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": _SCRATCH}, *_mounts(stage.secrets)],
    }
    whole = [{"secretRef": {"name": use.name}} for use in stage.secrets if use.mount is None]
    if whole:
        container["envFrom"] = whole
    return container


def environment(
    task: TaskSeen, spec: PoseTaskSpec, layout: Layout, stage: StageRun, settings: Settings
) -> Iterator[dict[str, Any]]:
    """Variables of the container: what ``StageProcessSpec`` reads, and how to reach the brokers."""
    kind, source = stage.type, spec.source
    values: dict[str, Any] = {
        "run": task.run,
        "parameters": stage.parameters,
        "device": "cuda" if stage.gpus else "cpu",
        "replicas": stage.replicas,
        "live": source.is_live,
        "listen": f"0.0.0.0:{kind.port}",
        "grace_seconds": settings.timings.stage_grace,
        "window_readers": list(layout.readers),
    }
    if kind.reads_source:
        values |= {"source": source.uri, "start": source.start_seconds}
        values |= {"duration": source.duration_seconds, "max_frames": source.max_frames}
    if kind.writes_output:
        values |= {"output": output_uri(task, layout, settings)}
        values |= {"formats": [f for f in spec.output.formats if f != "mp4"]}
        values |= {"video": "mp4" in spec.output.formats}
    if source.sampling.every_n > 1 and not layout.fused and stage.kind in {"producer", "bytetrack"}:
        values["parameters"] = {"every_n": source.sampling.every_n} | stage.parameters
    elif source.sampling.every_n > 1 and layout.fused:
        every = {"every_n": source.sampling.every_n}
        given = {name: every | stage.parameters.get(name, {}) for name in ("producer", "bytetrack")}
        values["parameters"] = stage.parameters | given
    for name, value in values.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            yield {"name": _PREFIX + name.upper(), "value": text}
    if stage.replicas > 1:
        yield {"name": _PREFIX + "REPLICA", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}}
    mounted = next((use.mount for use in stage.secrets if use.name == settings.kafka.secret), None)
    kafka = {"POSETASK_KAFKA": settings.kafka.bootstrap} | settings.kafka.env
    if mounted is not None:
        kafka["POSETASK_KAFKA_SECRETS"] = mounted
    for name, text in (kafka | _writable_homes() | kind.env).items():
        yield {"name": name, "value": text}


def output_uri(task: TaskSeen, layout: Layout, settings: Settings) -> str:
    """The annotated video: in the folder that the task names, or in one of the run's own below the root."""
    root = (settings.storage.root or "").rstrip("/")
    folder = layout.output or f"{root}/{task.namespace}/{task.run}"
    return f"{folder.rstrip('/')}/{task.name}.mp4"


def _writable_homes() -> dict[str, str]:
    return {"HOME": _SCRATCH, "TMPDIR": _SCRATCH}


def _resources(stage: StageRun, profile: Profile) -> dict[str, dict[str, str]]:
    base: Resources = profile.resources.get(stage.kind, stage.type.resources)
    requests, limits = dict(base.requests), dict(base.limits)
    given: GivenResources | None = stage.given.resources if stage.given is not None else None
    for name, amount in (
        ("cpu", given.cpu if given else None),
        ("memory", given.memory if given else None),
        ("ephemeral-storage", given.ephemeral_storage if given else None),
    ):
        if amount is not None:
            requests[name] = str(amount)
            if name != "cpu":
                limits[name] = str(amount)
    if stage.gpus and profile.accelerator is not None:
        requests[profile.accelerator] = limits[profile.accelerator] = str(stage.gpus)
    return {"requests": requests, "limits": limits}


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    get = {"path": path, "port": "http"}
    return {"httpGet": get, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": 5}


def _volumes(secrets: tuple[SecretUse, ...]) -> list[dict[str, Any]]:
    mounted = {use.name: use for use in secrets if use.mount is not None}
    return [{"name": f"secret-{name}"[:63], "secret": {"secretName": name}} for name in mounted]


def _mounts(secrets: tuple[SecretUse, ...]) -> list[dict[str, Any]]:
    mounted = {use.name: use for use in secrets if use.mount is not None}
    return [
        {"name": f"secret-{name}"[:63], "mountPath": use.mount, "readOnly": True}
        for name, use in mounted.items()
    ]
