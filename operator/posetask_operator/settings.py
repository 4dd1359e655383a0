"""What the administrator decides: where stages run, what they are made of, what a namespace may reach.

A PoseTask names profiles and stage types; everything behind these names stands here, so that nobody who may
create a PoseTask can choose an image, a node, a service account or somebody else's bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from posetask.errors import InvalidParameters, SourceNotFound
from posetask_operator.timings import Timings

_DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_NAME = r"^[a-z][a-z0-9-]{0,30}$"
FUSED = "fused"
"""Stage, and type, of the one pod of a Fused task."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Section):
    """Of one container, in Kubernetes' quantities."""

    requests: dict[str, str] = Field({"cpu": "500m", "memory": "512Mi"}, description="what a node must have")
    limits: dict[str, str] = Field({"memory": "2Gi"}, description="what it may not exceed; no CPU limit")


class Toleration(_Section):
    """Of a taint on a profile's nodes."""

    key: str
    operator: str = Field("Exists", pattern="^(Exists|Equal)$")
    value: str | None = None
    effect: str | None = Field(None, pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")


class Profile(_Section):
    """A kind of place to run: nodes, their accelerator, and how much of it PoseTasks may hold."""

    accelerator: str | None = Field(
        None, description="resource of the nodes (nvidia.com/gpu); none: stages run on CPUs"
    )
    gpus: int | None = Field(
        None, ge=0, description="budget of accelerators; none: allocatable minus what others use on its nodes"
    )
    tasks: int | None = Field(None, ge=1, description="most tasks at once, whatever they ask for")
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    runtime_class: str | None = Field(None, pattern=_DNS)
    priority_class: str | None = Field(None, pattern=_DNS)
    resources: dict[str, Resources] = Field(default_factory=dict, description="by stage type, over its own")


class SecretUse(_Section):
    """A Secret of the task's namespace that a stage is given."""

    name: str = Field(pattern=_DNS, max_length=63)
    mount: str | None = Field(None, pattern="^/", description="folder; none: its keys become variables")


class StageType(_Section):
    """What stands behind ``stages[].type``."""

    image: str = Field(min_length=1, max_length=512, description="by digest in production")
    command: tuple[str, ...] = Field((), description="none: posetask stage NAME")
    stage: str | None = Field(None, pattern=_NAME, description="name of the stage's class; none: the type's")
    port: int = Field(ge=1, le=65535, description="of /healthz, /readyz, /metrics and /status")
    inputs: tuple[str, ...] = Field((), description="topics that it reads; a PoseTask may name others")
    output: str | None = Field(None, description="topic that it writes")
    gpus: int = Field(0, ge=0, le=16, description="accelerators a replica, where the task does not say")
    scalable: bool = Field(False, description="more than one replica may share its partitions")
    reads_source: bool = Field(False, description="is told the source, and has its credentials")
    writes_output: bool = Field(False, description="is told the output, and has its credentials")
    takes_model: bool = Field(False, description="stages[].model means something to it")
    resources: Resources = Field(default_factory=Resources)
    env: dict[str, str] = Field(default_factory=dict)
    egress: tuple[str, ...] = Field(("kafka",), description="labels that network policies select pods by")
    secrets: tuple[SecretUse, ...] = ()
    models: tuple[str, ...] | None = Field(
        None, description="models that the image or its storage has; none: the stage itself checks"
    )
    parameters: dict[str, Any] | None = Field(
        None, description="JSON schema of its parameters; none: that of the built-in stage of the same name"
    )


def built_in_types(image: str) -> dict[str, StageType]:
    """The catalogue of the built-in stages, and of ``fused``: all of them in one pod.

    >>> built_in_types("posetask/stages:1")["yolox"].inputs
    ('raw_frames',)
    """
    raw, storage = "raw_frames", ("kafka", "storage")
    return {
        "producer": StageType(
            image=image, port=8101, output=raw, reads_source=True, egress=("kafka", "storage", "source")
        ),
        "yolox": StageType(
            image=image, port=8102, inputs=(raw,), output="yolox", gpus=1, scalable=True, takes_model=True
        ),
        "rtmpose": StageType(
            image=image,
            port=8103,
            inputs=(raw, "yolox"),
            output="rtmpose",
            gpus=1,
            scalable=True,
            takes_model=True,
        ),
        "bytetrack": StageType(image=image, port=8104, inputs=("rtmpose",), output="bytetrack"),
        "annotator": StageType(
            image=image,
            port=8105,
            inputs=(raw, "bytetrack"),
            reads_source=True,
            writes_output=True,
            egress=storage,
        ),
        FUSED: StageType(
            image=image,
            port=8100,
            gpus=1,
            reads_source=True,
            writes_output=True,
            egress=("kafka", "storage", "source"),
        ),
    }


class NamespaceGrant(_Section):
    """What tasks of one namespace may use."""

    sources: tuple[str, ...] = Field((), description="URI prefixes that may be read")
    outputs: tuple[str, ...] = Field(
        (), description="URI prefixes that may be written, beside the root's own"
    )
    service_account: str = Field("posetask-stage", pattern=_DNS, description="of the pods; without a token")
    secrets: tuple[SecretUse, ...] = Field(
        (), description="storage credentials, for stages that read sources or write outputs"
    )
    max_tasks: int | None = Field(None, ge=1, description="most admitted tasks at once")


class Storage(_Section):
    """Where results go, and who may reach what."""

    root: str | None = Field(
        None, description="results go to ROOT/<namespace>/<run>/ where a task names none"
    )
    namespaces: dict[str, NamespaceGrant] = Field(default_factory=dict)
    default: NamespaceGrant | None = Field(
        default_factory=NamespaceGrant, description="of namespaces not named; none: these may run nothing"
    )

    def grant(self, namespace: str) -> NamespaceGrant | None:
        """What a namespace may use; None where it may run nothing."""
        return self.namespaces.get(namespace, self.default)


class KafkaAccess(_Section):
    """How pods and the operator reach the brokers; the operator's own connection is ``POSETASK_KAFKA_*``."""

    bootstrap: str = Field("127.0.0.1:9092", pattern=r"^[^,\s]+(,[^,\s]+)*$")
    env: dict[str, str] = Field(
        default_factory=dict, description="POSETASK_KAFKA_* of the pods; no passwords: those are a Secret's"
    )
    secret: str | None = Field(None, pattern=_DNS, description="Secret of the task's namespace, mounted")
    replication: int = Field(-1, ge=-1, description="copies of a topic; -1 = the brokers' default")
    partition_budget: int | None = Field(
        4_000, ge=1, description="most partitions of all topics together (guidance: 4,000 a broker)"
    )
    raw_segment_bytes: int = Field(16 * 2**20, ge=2**20, description="of raw_frames; see docs/kafka.md")
    result_bytes: int = Field(2**30, ge=2**20, description="budget of a result topic's partition")

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if not name.startswith("POSETASK_KAFKA"):
                raise ValueError(f"{name} is no POSETASK_KAFKA_* variable")
            if name.endswith(("PASSWORD", "TLS_KEY")):
                raise ValueError(f"{name} belongs into a Secret: set secret")
        return env


class Settings(_Section):
    """All that the administrator decides. Read once; a change is a new process."""

    installation: str = Field(pattern=_NAME, description="id of this installation: its sweeper's own topics")
    namespace: str = Field(pattern=_DNS, description="of the operator: its Lease and its tombstones")
    profiles: dict[str, Profile] = Field(default_factory=lambda: {"default": Profile()}, min_length=1)
    default_profile: str = "default"
    image: str | None = Field(None, description="of the built-in stages; none: stages holds all there is")
    stages: dict[str, StageType] = Field(default_factory=dict, description="the catalogue, by type")
    kafka: KafkaAccess = Field(default_factory=KafkaAccess)
    storage: Storage = Field(default_factory=Storage)
    timings: Timings = Field(default_factory=Timings)
    pod_failures: int = Field(6, ge=0, le=100, description="pods of a stage that may die in one attempt")
    disruptions: int = Field(
        10, ge=0, le=100, description="evictions of a stage in one attempt, not counted above"
    )
    requeues: int = Field(5, ge=0, le=100, description="ready time-outs before a task fails")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.default_profile not in self.profiles:
            raise ValueError(f"default_profile {self.default_profile!r} is none of {sorted(self.profiles)}")
        if self.timings.stage_grace >= self.timings.pod_grace:
            raise ValueError("timings.stage_grace must be less than timings.pod_grace")
        return self

    @cached_property
    def catalogue(self) -> dict[str, StageType]:
        """Every stage type that a task may name, and ``fused``."""
        return (built_in_types(self.image) if self.image else {}) | self.stages

    @classmethod
    def load(cls, file: Path) -> Self:
        """From the YAML file that the chart mounts.

        Raises:
            SourceNotFound: There is no such file.
            InvalidParameters: Names every value that is wrong.
        """
        try:
            found = yaml.safe_load(file.read_text())
        except FileNotFoundError:
            raise SourceNotFound(f"{file} does not exist", hint="mount the operator's settings") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidParameters(f"{file} cannot be read: {error}", hint="it is YAML") from None
        return cls.parse(found)

    @classmethod
    def parse(cls, values: object) -> Self:
        """From plain values.

        Raises:
            InvalidParameters: Names every value that is wrong.

        >>> Settings.parse({"installation": "main", "namespace": "posetask"}).timings.recheck
        60
        """
        if not isinstance(values, Mapping):
            raise InvalidParameters(
                "the settings hold no mapping", hint="installation: NAME, namespace: NAME"
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise InvalidParameters(f"settings: {said}", hint="see docs/operator.md") from None
