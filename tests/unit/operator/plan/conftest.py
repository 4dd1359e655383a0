"""A small world for plans: an API server, a Job controller, nodes and brokers in memory, and a clock.

It applies what a plan asks for, one action after the other, and can fail, lose the answer of, or kill the
operator at any of them. Looks happen as in the operator: when something changed, or when one is due.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from posetask.spec import PoseTaskSpec, PoseTaskStatus, Reason
from posetask.transport.kafka.names import run_id
from posetask_operator.core import actions as act
from posetask_operator.core.admission import Admission
from posetask_operator.core.claims import holding, request
from posetask_operator.core.observed import (
    FINALIZER,
    JobSeen,
    KafkaSeen,
    Observed,
    PodSeen,
    ReportSeen,
    RunRecord,
    TaskSeen,
    Trouble,
)
from posetask_operator.core.plan import look_at, plan
from posetask_operator.settings import Settings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
TICK = timedelta(seconds=5)
GRACE = timedelta(seconds=10)

BROKERS = (
    act.RecordRun,
    act.CreateTopics,
    act.DeleteGroups,
    act.DeleteTopics,
    act.TombstoneProgress,
    act.ForgetRun,
)

Fate = Callable[[str, int], str]
"""By stage and attempt: ok, stuck (never ready), hangs (no frames), bad (exit 20), flaky (30), killed."""


class Killed(Exception):
    """The operator died here."""


@dataclass
class Stored:
    """A PoseTask of the API server."""

    namespace: str
    name: str
    uid: str
    created: datetime
    spec: dict[str, Any]
    status: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    generation: int = 1
    finalizers: tuple[str, ...] = ()
    deleting: datetime | None = None
    fate: Fate = lambda stage, attempt: "ok"
    _seen: TaskSeen | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def run(self) -> str:
        return run_id(self.name, self.uid)

    def seen(self) -> TaskSeen:
        if self._seen is None or self._seen.resource_version != str(self.version):
            self._seen = self._read()
        return self._seen

    def _read(self) -> TaskSeen:
        return TaskSeen(
            namespace=self.namespace,
            name=self.name,
            uid=self.uid,
            resource_version=str(self.version),
            generation=self.generation,
            created=self.created,
            spec=PoseTaskSpec.model_validate(self.spec),
            status=PoseTaskStatus.model_validate(self.status),
            deleting=self.deleting,
            finalizers=self.finalizers,
        )


@dataclass
class JobState:
    """A Job of the API server."""

    seen: JobSeen
    key: str
    replicas: int
    gpus: int


@dataclass
class PodState:
    """A pod, and how old it is in ticks."""

    seen: PodSeen
    key: str
    job: str
    age: int = 0


class World:
    """Everything outside the plan."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.now = settings, START
        self.tasks: dict[str, Stored] = {}
        self.jobs: dict[str, JobState] = {}
        self.pods: dict[str, PodState] = {}
        self.topics: dict[str, dict[str, int]] = {}
        self.records: dict[str, RunRecord] = {}
        self.groups: set[str] = set()
        self.reports: dict[str, dict[str, ReportSeen]] = {}
        self.tombstones: dict[str, RunRecord] = {}
        self.secrets: frozenset[str] = frozenset()
        self.unreachable: frozenset[str] = frozenset()
        self.kafka_away: datetime | None = None
        self.lagging = False  # the watches bring what others did five seconds late
        self.cache: dict[str, tuple[dict[str, JobSeen], dict[str, PodSeen]]] = {}
        self._late: set[str] = set()
        self.made: dict[str, int] = {}
        self.writes: list[str] = []
        self.log: list[tuple[str, type[act.Action]]] = []
        self.faults: dict[int, str] = {}
        self.actions = 0
        self.most_gpus = 0
        self.admitted: list[str] = []
        self._uids = 0
        self.restart()

    # The operator

    def restart(self) -> None:
        """A new operator: what it knew is gone."""
        self.admission = Admission(self.settings)
        self.admission.expect(self.tasks)
        self.troubles: dict[str, tuple[Trouble, ...]] = {}
        self.written: dict[str, datetime] = {}
        self.dirty: dict[str, None] = dict.fromkeys(self.tasks)
        self.due: dict[str, datetime] = {}

    def add(self, name: str, fate: Fate = lambda s, a: "ok", namespace: str = "lab", **spec: Any) -> Stored:
        """kubectl apply."""
        self._uids += 1
        body = {"source": {"uri": "synth:frames=100"}} | spec
        task = Stored(namespace, name, f"{self._uids:08x}-0000", self.now, body, fate=fate)
        self.tasks[task.key] = task
        self.dirty[task.key] = None
        return task

    def edit(self, task: Stored, **spec: Any) -> None:
        """kubectl patch."""
        task.spec = task.spec | spec
        task.version += 1
        task.generation += 1
        self.dirty[task.key] = None

    def delete(self, task: Stored) -> None:
        """kubectl delete."""
        if task.key not in self.tasks or task.deleting is not None:
            return
        task.deleting = self.now
        task.version += 1
        self.dirty[task.key] = None
        if not task.finalizers:
            del self.tasks[task.key]

    def observe(self, task: Stored, *, fresh: bool) -> Observed:
        """What the edge would bring."""
        seen = task.seen()
        wanted = look_at(seen, self.settings)
        kafka = None
        if wanted.kafka:
            kafka = KafkaSeen(
                away_since=self.kafka_away,
                problem="no broker answers" if self.kafka_away else "",
                record=self.records.get(seen.run),
                topics=dict(self.topics.get(seen.run, {})) if not self.kafka_away else {},
                groups=frozenset(g for g in self.groups if g.endswith(seen.run)) if wanted.groups else None,
                progress_keys=frozenset(self.reports.get(seen.run, {})),
                partitions=sum(sum(t.values()) for t in self.topics.values()),
            )
        if fresh or not self.lagging:
            self.cache[task.key] = self._children(task.key)
        jobs, pods = self.cache.get(task.key, ({}, {}))
        return Observed(
            now=self.now,
            task=seen,
            jobs=tuple(jobs.values()),
            pods=tuple(pods.values()),
            fresh=fresh,
            secrets=wanted.secrets & self.secrets,
            unreachable=self.unreachable,
            kafka=kafka,
            reports=dict(self.reports.get(seen.run, {})) if not self.kafka_away else {},
            troubles=self.troubles.get(task.key, ()),
            slow_written_at=self.written.get(task.key),
        )

    def _children(self, key: str) -> tuple[dict[str, JobSeen], dict[str, PodSeen]]:
        jobs = {name: job.seen for name, job in self.jobs.items() if job.key == key}
        return jobs, {name: pod.seen for name, pod in self.pods.items() if pod.key == key}

    def decide(self, task: Stored) -> act.Plan:
        """The loop of the plan module's docstring."""
        seen = self.observe(task, fresh=False)
        self.admission.report(task.key, holding(seen, self.settings))
        made = plan(seen, self.settings)
        while made.needs_fresh or (made.wants_admission and seen.verdict is None):
            if made.needs_fresh:
                assert not seen.fresh, "a fresh look is not fresh enough"
                seen = replace(self.observe(task, fresh=True), verdict=seen.verdict)
                self.admission.report(task.key, holding(seen, self.settings))
            else:
                asked = request(seen, self.settings)
                assert asked is not None
                seen = replace(seen, verdict=self.admission.ask(asked, self.now))
            made = plan(seen, self.settings)
        if not made.wants_admission:
            self.admission.withdraw(task.key)
        return made

    def look(self, task: Stored) -> None:
        """One reconcile."""
        made = self.decide(task)
        if made.requeue_after is not None:
            self.due[task.key] = self.now + timedelta(seconds=made.requeue_after)
        for action in made.actions:
            if not self._try(task, action):
                break
        else:
            if made.requeue_after == 0:
                self.dirty[task.key] = None
        if task.key not in self.tasks:
            self.admission.forget(task.key)
        self.dirty.update(dict.fromkeys(key for key in self.admission.ready() if key in self.tasks))

    def _try(self, task: Stored, action: act.Action) -> bool:
        about = type(action).__name__
        fault = self.faults.get(self.actions)
        self.actions += 1
        self.log.append((task.key, type(action)))
        if fault == "killed before":
            raise Killed
        left = tuple(t for t in self.troubles.get(task.key, ()) if t.about != about)
        trouble = Trouble(about, "Unavailable", "the answer was lost")
        done = True
        if fault != "refused":
            try:
                self.apply(task, action)
            except ConnectionError as error:
                trouble, done = Trouble(about, "KafkaUnavailable", str(error)), False
        if fault == "killed after":
            raise Killed
        if fault in {"refused", "lost"} or not done:
            self.troubles[task.key] = (*left, trouble)
            self.dirty[task.key] = None
            self.due[task.key] = self.now + TICK
            if not isinstance(action, act.EmitEvent):
                self.dirty.pop(task.key, None)  # the queue's back-off
            return isinstance(action, act.EmitEvent)
        self.troubles[task.key] = left
        return True

    def apply(self, task: Stored, action: act.Action) -> None:
        """What API server and brokers do."""
        run = task.run
        if not isinstance(action, BROKERS):
            self.writes.append(type(action).__name__)
        elif self.kafka_away:
            raise ConnectionError("no broker answers")
        match action:
            case act.AddFinalizer():
                task.finalizers = (FINALIZER,)
                task.version += 1
                self.dirty[task.key] = None
            case act.RemoveFinalizer():
                task.finalizers = ()
                task.version += 1
                if task.deleting is not None:
                    del self.tasks[task.key]
            case act.WriteStatus(status):
                for said in status.conditions:
                    stands = Reason(said.reason).words.conditions
                    assert said.type in stands, f"{said.reason} in {said.type}: say so in reasons.yaml"
                before = task.seen().status.attempt
                task.status = json.loads(json.dumps(status.wire()))
                if status.attempt > before:
                    self.admitted.append(task.key)
                task.version += 1
                self.written[task.key] = self.now
                self.dirty[task.key] = None
            case act.RecordRun(record):
                self.records[run] = record
            case act.CreateTopics(topics):
                for topic in topics:
                    if topic.name not in self.topics.get(run, {}):
                        self.made[topic.name] = self.made.get(topic.name, 0) + 1
                    self.topics.setdefault(run, {})[topic.name] = topic.partitions
            case act.CreateJob(name, stage, attempt, manifest):
                self._create_job(task, name, stage, attempt, manifest)
            case act.DeleteJob(name, uid):
                job = self.jobs.get(name)
                if job is not None and job.seen.uid == uid:
                    job.seen = replace(job.seen, deleting=True)
            case act.DeletePod(name, uid):
                pod = self.pods.get(name)
                if pod is not None and pod.seen.uid == uid:
                    pod.seen = replace(pod.seen, grace_ends=self.now + GRACE)
            case act.DeleteGroups(names):
                self.groups -= set(names)
            case act.DeleteTopics(names):
                for name in names:
                    self.topics.get(run, {}).pop(name, None)
                if not self.topics.get(run):
                    self.topics.pop(run, None)
            case act.TombstoneProgress(_, stages):
                for stage in stages:
                    self.reports.get(run, {}).pop(stage, None)
                if not self.reports.get(run):
                    self.reports.pop(run, None)
            case act.ForgetRun():
                self.records.pop(run, None)
            case act.WriteTombstone(name, record, _):
                self.tombstones[name] = record
            case act.DeleteTask():
                self.delete(task)
            case act.EmitEvent():
                pass

    def _create_job(
        self, task: Stored, name: str, stage: str, attempt: int, manifest: Mapping[str, Any]
    ) -> None:
        assert task.deleting is None, "nothing is made for a task that goes"
        assert manifest["metadata"]["name"] == name
        if name in self.jobs:
            return
        self.made[name] = self.made.get(name, 0) + 1
        self._uids += 1
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        gpus = int(container["resources"]["limits"].get("nvidia.com/gpu", 0))
        seen = JobSeen(
            name, f"job-{self._uids}", stage, attempt, manifest["metadata"]["ownerReferences"][0]["uid"]
        )
        self.jobs[name] = JobState(seen, task.key, manifest["spec"]["completions"], gpus)
        self.cache.setdefault(task.key, ({}, {}))[0][name] = seen  # the answer to a write is known at once
        self.dirty[task.key] = None

    # Controllers, nodes, stages

    def step(self) -> None:
        """Five seconds pass."""
        self.now += TICK
        self.dirty.update(dict.fromkeys(key for key in self._late if key in self.tasks))
        self._late.clear()
        if self.lagging:
            self.cache = {key: self._children(key) for key in self.tasks}
        before = self._versions()
        for job in list(self.jobs.values()):
            self._control(job)
        for name, pod in list(self.pods.items()):
            self._kubelet(name, pod)
        for job in list(self.jobs.values()):
            self._settle(job)
        after = self._versions()
        for key in {*before, *after}:
            if before.get(key) != after.get(key) and key in self.tasks:
                self.dirty[key] = None
                self._late.add(key)
        used = sum(p.seen.gpus for p in self.pods.values() if p.seen.alive)
        self.most_gpus = max(self.most_gpus, used)

    def _versions(self) -> dict[str, list[Any]]:
        out: dict[str, list[Any]] = {}
        for state in (*self.jobs.values(), *self.pods.values()):
            out.setdefault(state.key, []).append(state.seen)
        for key, task in self.tasks.items():
            out.setdefault(key, []).append(dict(self.reports.get(task.run, {})))
        return out

    def _control(self, job: JobState) -> None:
        mine = [p for p in self.pods.values() if p.job == job.seen.name]
        if job.seen.deleting or job.seen.ended:
            for pod in mine:
                if pod.seen.alive and pod.seen.grace_ends is None:
                    pod.seen = replace(pod.seen, grace_ends=self.now + GRACE)
                elif not pod.seen.alive and job.seen.deleting:
                    self.pods.pop(pod.seen.name, None)
            if job.seen.deleting and not [p for p in self.pods.values() if p.job == job.seen.name]:
                del self.jobs[job.seen.name]
            return
        wanted = job.replicas - job.seen.succeeded
        for _ in range(wanted - sum(p.seen.alive for p in mine)):
            self._uids += 1
            seen = PodSeen(
                f"{job.seen.name}-{self._uids}",
                f"pod-{self._uids}",
                job.seen.stage,
                job.seen.attempt,
                job.seen.uid,
                "Pending",
                node="node-1",
                gpus=job.gpus,
            )
            self.pods[seen.name] = PodState(seen, job.key, job.seen.name)

    def _kubelet(self, name: str, pod: PodState) -> None:
        seen, task = pod.seen, self.tasks.get(pod.key)
        if not seen.alive:
            return
        if seen.grace_ends is not None:
            if self.now >= seen.grace_ends and seen.node not in self.unreachable:
                if pod.job in self.jobs and not self.jobs[pod.job].seen.deleting:
                    pod.seen = replace(seen, phase="Failed", ready=False, exit_code=143)
                else:
                    del self.pods[name]
            return
        if task is None:
            return
        pod.age += 1
        fate, run = task.fate(seen.stage, seen.attempt), task.run
        if pod.age < 2 or fate == "stuck":
            pod.seen = replace(seen, phase="Running" if pod.age > 1 else "Pending")
            return
        pod.seen = seen = replace(seen, phase="Running", ready=True)
        if seen.stage != "producer":
            self.groups.add(f"{seen.stage}_{run}")
        frames = 0 if fate == "hangs" else min(100, 20 * pod.age)
        for stage in ("producer", "annotator") if seen.stage == "fused" else (seen.stage,):
            last = self.reports.get(run, {}).get(stage)
            if self.kafka_away is None and (last is None or last.frames < frames):
                facts = {"frames": frames, "people": 2, "tracks": 3} if stage == "annotator" else {}
                report = ReportSeen(stage, "running", self.now, frames, facts=facts)
                self.reports.setdefault(run, {})[stage] = report
        if pod.age < 6 or fate == "hangs" or self.kafka_away is not None or self._waits(pod):
            return
        codes = {"bad": 20, "flaky": 30, "killed": 137}
        code = codes.get(fate, 0)
        phase = "Failed" if code else "Succeeded"
        why = "OOMKilled" if fate == "killed" else ("Error" if code else "Completed")
        pod.seen = replace(seen, phase=phase, ready=False, exit_code=code, reason=why)

    def _waits(self, pod: PodState) -> bool:
        """The annotator ends when the stages before it did."""
        if pod.seen.stage != "annotator":
            return False
        mates = (j.seen for j in self.jobs.values() if j.key == pod.key and j.seen.stage != "annotator")
        return not all(job.complete for job in mates)

    def _settle(self, job: JobState) -> None:
        mine = [p.seen for p in self.pods.values() if p.job == job.seen.name]
        done = sum(p.phase == "Succeeded" for p in mine)
        dead = [p for p in mine if p.phase == "Failed"]
        job.seen = replace(
            job.seen,
            active=sum(p.alive for p in mine),
            ready=sum(p.ready for p in mine),
            succeeded=done,
            failed=len(dead),
            complete=done >= job.replicas,
        )
        if dead and not job.seen.ended:
            policy = dead[-1].exit_code == 20
            reason = "PodFailurePolicy" if policy else "BackoffLimitExceeded"
            if policy or len(dead) > 1:
                job.seen = replace(job.seen, failed_reason=reason)

    # Time

    def settle(self, most: int = 60) -> None:
        """Looks until nothing is left to be looked at now."""
        for _ in range(most):
            now = [key for key, due in self.due.items() if due <= self.now]
            for key in now:
                del self.due[key]
            keys = [key for key in dict.fromkeys((*self.dirty, *now)) if key in self.tasks]
            self.dirty.clear()
            if not keys:
                return
            for key in keys:
                if key in self.tasks:
                    try:
                        self.look(self.tasks[key])
                    except Killed:
                        self.restart()
                        break
        raise AssertionError(f"no fixed point after {most} rounds: {self.log[-10:]}")

    def run(self, ticks: int, until: Callable[[], bool] = lambda: False) -> bool:
        """So many ticks at most; whether ``until`` came true."""
        self.settle()
        for _ in range(ticks):
            if until():
                return True
            self.step()
            self.settle()
        return until()

    def status(self, task: Stored) -> PoseTaskStatus:
        """As stored."""
        return task.seen().status

    def cleaned(self, task: Stored) -> bool:
        """It is over, and nothing is left."""
        return task.key not in self.tasks or self.status(task).cleaned_up_time is not None

    def left(self) -> dict[str, Any]:
        """Everything that is there beside the tasks."""
        found = {"jobs": self.jobs, "pods": self.pods, "topics": self.topics, "records": self.records}
        found |= {"groups": self.groups, "reports": self.reports}
        return {name: sorted(each) for name, each in found.items() if each}


WORLD: dict[str, Any] = {
    "installation": "main",
    "namespace": "posetask",
    "image": "posetask/stages:1",
    "profiles": {"default": {"accelerator": "nvidia.com/gpu", "gpus": 4}},
    "storage": {"root": "s3://results"},
}
QUICK: dict[str, Any] = {
    "cleanup": {"topicsAfterSeconds": 20, "ttlSecondsAfterSuccess": 40, "ttlSecondsAfterFailure": 40},
    "scheduling": {"readyTimeoutSeconds": 60},
    "deadlines": {"noFramesSeconds": 60, "activeSeconds": 900},
}


@pytest.fixture
def make_world() -> Callable[..., World]:
    """A world with one profile of 4 GPUs."""

    def make(**given: Any) -> World:
        return World(Settings.parse(WORLD | given))

    return make


@pytest.fixture
def quick() -> dict[str, Any]:
    """Of a specification: short times."""
    return QUICK


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    """The usual one; nothing that it made was made twice."""
    made = make_world()
    yield made
    assert {name: count for name, count in made.made.items() if count > 1} == {}
