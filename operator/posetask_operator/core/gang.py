"""The Jobs of an attempt, side by side with what was seen of them."""

from __future__ import annotations

from dataclasses import dataclass

from posetask.spec import PoseTaskSpec
from posetask_operator.core import names
from posetask_operator.core.layout import Layout, Problem, resolve
from posetask_operator.core.observed import JobSeen, Observed, PodSeen
from posetask_operator.settings import FUSED, Settings


@dataclass(frozen=True, slots=True)
class Member:
    """One Job of the attempt.

    Attributes:
        job_name: Its only possible name.
        required: The result needs it.
        sink: With it, and the other sinks, the task is done.
        job: As seen; None where it is not there.
        foreign: A Job of that name belongs to somebody else.
        pods: Of this attempt.
    """

    stage: str
    job_name: str
    replicas: int
    required: bool
    sink: bool
    job: JobSeen | None = None
    foreign: bool = False
    pods: tuple[PodSeen, ...] = ()

    @property
    def complete(self) -> bool:
        """It came to its end."""
        return self.job is not None and self.job.complete

    @property
    def ready_pods(self) -> int:
        """Pods that are ready."""
        return min(self.replicas, self.job.ready) if self.job is not None else 0

    @property
    def ready(self) -> bool:
        """All its replicas are ready or have ended well."""
        return self.job is not None and (
            self.job.complete or self.job.ready + self.job.succeeded >= self.replicas
        )

    @property
    def disruptions(self) -> int:
        """Pods that a node put out."""
        return sum(pod.disrupted and not pod.alive for pod in self.pods)


@dataclass(frozen=True, slots=True)
class View:
    """An observation with what the settings make of it.

    Attributes:
        layout: None where the specification cannot be read.
        members: Of the current attempt; empty before the first.
    """

    seen: Observed
    settings: Settings
    layout: Layout | Problem | None
    members: tuple[Member, ...]


def view(seen: Observed, settings: Settings) -> View:
    """Put beside one another what there should be and what there is."""
    task = seen.task
    layout = resolve(task.spec, task.namespace, settings) if task.spec is not None else None
    wanted: list[tuple[str, int, bool, bool]] = []
    if isinstance(layout, Layout):
        sinks = {stage.name for stage in layout.sinks}
        wanted = [(s.name, s.replicas, s.required, s.name in sinks) for s in layout.stages]
    elif task.spec is not None:
        wanted = _unresolved(task.spec)  # settings changed under it: what runs goes on
    members: tuple[Member, ...] = ()
    if task.status.attempt > 0:
        members = tuple(_member(seen, *each) for each in wanted)
    return View(seen, settings, layout, members)


def _unresolved(spec: PoseTaskSpec) -> list[tuple[str, int, bool, bool]]:
    if spec.execution.mode == "Fused":
        return [(FUSED, 1, True, True)]
    return [(s.name, s.replicas, s.required, s.required) for s in spec.effective_stages]


def _member(seen: Observed, stage: str, replicas: int, required: bool, sink: bool) -> Member:
    task = seen.task
    attempt = task.status.attempt
    name = names.job_name(task.run, stage, attempt)
    found = next((job for job in seen.jobs if job.name == name), None)
    ours = found is not None and found.owner_uid == task.uid
    return Member(
        stage=stage,
        job_name=name,
        replicas=replicas,
        required=required,
        sink=sink,
        job=found if ours else None,
        foreign=found is not None and not ours,
        pods=tuple(p for p in seen.pods if p.stage == stage and p.attempt == attempt),
    )
