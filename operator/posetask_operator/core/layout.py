"""From a specification and the administrator's settings to what runs: stages, topics, and what they need.

Everything that a person, or the administrator, must mend before the task can run is found here, before it
holds anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from posetask.errors import InvalidParameters
from posetask.spec import BUILT_IN, PoseTaskSpec, Reason, StageSpec, effective_stages, partitions
from posetask.synth.uri import parse as parse_synth
from posetask_operator.core import parameters
from posetask_operator.settings import FUSED, NamespaceGrant, Profile, SecretUse, Settings, StageType

RAW_FRAMES = "raw_frames"
_SINGLE = frozenset(BUILT_IN) - {"yolox", "rtmpose"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a task cannot be admitted.

    Attributes:
        final: True where the specification, which cannot be changed, is at fault: the task fails at once.
            False where others can mend it: the task waits.
    """

    reason: Reason
    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class StageRun:
    """One stage of a task, resolved: one Job.

    Attributes:
        gpus: Of each pod.
        parameters: Typed, as the stage's process takes them.
    """

    name: str
    kind: str
    type: StageType
    inputs: tuple[str, ...]
    output: str | None
    replicas: int = 1
    gpus: int = 0
    required: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)
    given: StageSpec | None = None
    secrets: tuple[SecretUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What runs.

    Attributes:
        stages: One Job each; a Fused task has one, named ``fused``.
        within: Names of all stages; those of a Fused task run inside that Job.
        partitions: Of raw_frames and of what scalable stages write.
    """

    profile_name: str
    profile: Profile
    grant: NamespaceGrant
    stages: tuple[StageRun, ...]
    within: tuple[StageRun, ...]
    partitions: int
    fused: bool
    output: str | None

    @property
    def gpus(self) -> int:
        """Of the whole gang."""
        return sum(stage.gpus * stage.replicas for stage in self.stages)

    @property
    def topics(self) -> dict[str, int]:
        """Partitions by topic, without the run; none for a Fused task."""
        if self.fused:
            return {}
        return {s.output: self._partitions(s) for s in self.stages if s.output is not None}

    @property
    def readers(self) -> tuple[str, ...]:
        """Stages whose commits hold the producer back: a stage that is not required never does."""
        return tuple(s.name for s in self.within if RAW_FRAMES in s.inputs and s.required)

    @property
    def sinks(self) -> tuple[StageRun, ...]:
        """Required stages whose output no other required stage reads: with them the task is done."""
        if self.fused:
            return self.stages
        read = {topic for s in self.stages if s.required for topic in s.inputs}
        return tuple(s for s in self.stages if s.required and s.output not in read)

    @property
    def secrets(self) -> frozenset[str]:
        """Secrets of the namespace that the pods are given."""
        return frozenset(use.name for stage in self.stages for use in stage.secrets)

    def _partitions(self, stage: StageRun) -> int:
        return self.partitions if stage.output == RAW_FRAMES or stage.type.scalable else 1


def resolve(spec: PoseTaskSpec, namespace: str, settings: Settings) -> Layout | Problem:
    """What a task comes to, or what stands in its way."""
    grant = settings.storage.grant(namespace)
    if grant is None:
        return Problem(
            Reason.NAMESPACE_NOT_ENABLED, f"tasks may not run in namespace {namespace}", final=False
        )
    name = spec.scheduling.profile or settings.default_profile
    profile = settings.profiles.get(name)
    if profile is None:
        there = ", ".join(sorted(settings.profiles))
        return Problem(Reason.UNKNOWN_PROFILE, f"there is no profile {name!r}; there are {there}", final=True)
    wrong = _addresses(spec, grant, settings)
    if wrong is not None:
        return wrong
    within: list[StageRun] = []
    for stage in effective_stages(spec.stages):
        made = _stage(stage, profile, settings, grant)
        if isinstance(made, Problem):
            return made
        within.append(made)
    wrong = _inputs(within)
    if wrong is not None:
        return wrong
    fused = spec.execution.mode == "Fused"
    jobs = tuple(within)
    if fused:
        one = _fused(within, profile, settings, grant)
        if isinstance(one, Problem):
            return one
        jobs = (one,)
    return Layout(
        profile_name=name,
        profile=profile,
        grant=grant,
        stages=jobs,
        within=tuple(within),
        partitions=1 if fused else partitions([s.given for s in within if s.given is not None]),
        fused=fused,
        output=spec.output.uri,
    )


def _stage(
    stage: StageSpec, profile: Profile, settings: Settings, grant: NamespaceGrant
) -> StageRun | Problem:
    known = settings.catalogue.get(stage.kind)
    if known is None or stage.kind == FUSED:
        there = ", ".join(sorted(set(settings.catalogue) - {FUSED})) or "none"
        return Problem(
            Reason.UNKNOWN_STAGE,
            f"stage {stage.name}: the catalogue has no type {stage.kind!r}; it has {there}",
            final=True,
        )
    schema = known.parameters or parameters.built_in_schemas().get(known.stage or stage.kind)
    values, wrong = parameters.check(schema, stage.parameters)
    if stage.replicas > 1 and not known.scalable:
        wrong.append(f"replicas: {stage.replicas} of a stage that runs in one")
    if stage.model is not None:
        if not known.takes_model:
            wrong.append(f"model: type {stage.kind} takes none")
        elif known.models is not None and stage.model not in known.models:
            there = ", ".join(known.models) or "none"
            return Problem(
                Reason.UNKNOWN_MODEL,
                f"stage {stage.name}: there is no model {stage.model!r}; there are {there}",
                final=True,
            )
        values["model"] = stage.model
    gpus = known.gpus if profile.accelerator is not None else 0
    if stage.accelerator is not None:
        gpus = stage.accelerator.count
        if gpus and stage.accelerator.type != profile.accelerator:
            has = profile.accelerator or "no accelerators"
            wrong.append(f"accelerator: {stage.accelerator.type}, where the profile has {has}")
    if wrong:
        return Problem(Reason.INVALID_PARAMETERS, f"stage {stage.name}: {'; '.join(wrong)}", final=True)
    return StageRun(
        name=stage.name,
        kind=stage.kind,
        type=known,
        inputs=stage.inputs if stage.inputs is not None else known.inputs,
        output=known.output,
        replicas=stage.replicas,
        gpus=gpus,
        required=stage.required,
        parameters=values,
        given=stage,
        secrets=_secrets(known, grant, settings),
    )


def _fused(
    within: list[StageRun], profile: Profile, settings: Settings, grant: NamespaceGrant
) -> StageRun | Problem:
    known = settings.catalogue.get(FUSED)
    if known is None:
        return Problem(
            Reason.UNKNOWN_STAGE, "the catalogue has no type 'fused': tasks run Distributed here", final=True
        )
    foreign = [s.name for s in within if s.name not in BUILT_IN or s.kind != s.name]
    if foreign:
        return Problem(
            Reason.UNKNOWN_STAGE,
            f"a Fused task has the built-in stages alone, not {', '.join(foreign)}: take mode Distributed",
            final=True,
        )
    return StageRun(
        name=FUSED,
        kind=FUSED,
        type=known,
        inputs=(),
        output=None,
        gpus=max((s.gpus for s in within), default=0),
        parameters={s.name: s.parameters for s in within if s.parameters},
        secrets=_secrets(known, grant, settings),
    )


def _secrets(known: StageType, grant: NamespaceGrant, settings: Settings) -> tuple[SecretUse, ...]:
    storage = grant.secrets if known.reads_source or known.writes_output else ()
    kafka = (SecretUse(name=settings.kafka.secret, mount=KAFKA_MOUNT),) if settings.kafka.secret else ()
    return (*known.secrets, *storage, *kafka)


KAFKA_MOUNT = "/var/run/secrets/posetask/kafka"


def _inputs(stages: list[StageRun]) -> Problem | None:
    written: dict[str, str] = {}
    for stage in stages:
        if stage.output is not None and stage.output in written:
            both = f"stages {written[stage.output]} and {stage.name} both write {stage.output}"
            return Problem(Reason.UNKNOWN_INPUT, both, final=True)
        if stage.output is not None:
            written[stage.output] = stage.name
    for stage in stages:
        for topic in stage.inputs:
            if topic not in written or topic == stage.output:
                there = ", ".join(sorted(set(written) - {stage.output}))
                said = f"stage {stage.name} reads {topic!r}, which no other writes; there are {there}"
                return Problem(Reason.UNKNOWN_INPUT, said, final=True)
    return None


def _addresses(spec: PoseTaskSpec, grant: NamespaceGrant, settings: Settings) -> Problem | None:
    uri = spec.source.uri
    if uri.startswith("synth:"):
        try:
            parse_synth(uri)
        except InvalidParameters as error:
            return Problem(Reason.INVALID_PARAMETERS, f"source.uri: {error}", final=True)
    elif not _within(uri, grant.sources):
        there = ", ".join((*grant.sources, "synth:"))
        return Problem(Reason.SOURCE_NOT_ALLOWED, f"source {uri} is outside {there}", final=True)
    if spec.output.uri is not None and not _within(spec.output.uri, grant.outputs):
        there = ", ".join(grant.outputs) or "none granted"
        return Problem(Reason.OUTPUT_NOT_ALLOWED, f"output {spec.output.uri} is outside {there}", final=True)
    if spec.output.uri is None and settings.storage.root is None:
        return Problem(
            Reason.OUTPUT_NOT_ALLOWED, "no output.uri is given, and the installation has no root", final=True
        )
    return None


def _within(uri: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an address lies below a prefix; one without a closing slash ends at a boundary.

    >>> _within("s3://lab/a.mp4", ("s3://lab",)), _within("s3://lab-2/a.mp4", ("s3://lab",))
    (True, False)
    >>> _within("s3://lab/../other/a.mp4", ("s3://lab/",)), _within("https://cam@evil/x", ("https://cam",))
    (False, False)
    """
    path = uri.partition("://")[2]
    if any(part in {".", ".."} for part in path.replace("%2e", ".").replace("%2E", ".").split("/")):
        return False
    return any(
        uri == prefix or uri.startswith(prefix if prefix.endswith("/") else prefix + "/")
        for prefix in prefixes
    )
