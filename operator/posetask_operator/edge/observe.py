"""What one look sees of one task: the store, the brokers, and the few questions that go to the API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from posetask_operator.core.names import RUN_LABEL
from posetask_operator.core.observed import Observed, PodSeen, TaskSeen
from posetask_operator.core.plan import LookAt
from posetask_operator.edge.client import Json, KubeClient
from posetask_operator.edge.faults import Forbidden
from posetask_operator.edge.follow import Follower
from posetask_operator.edge.resources import JOBS, NAMESPACES, NODES, PODS, SECRETS
from posetask_operator.edge.seen import job_seen, pod_seen
from posetask_operator.edge.store import Kind, Store
from posetask_operator.edge.topics import Brokers

T = TypeVar("T")
_SECRET_SECONDS = 10.0
_NODE_SECONDS = 15.0
_NAMESPACE_SECONDS = 10.0


class Observer:
    """Observes tasks.

    Args:
        client: To ask.
        store: Jobs and pods as the watches brought them.
        brokers: What they hold.
        follower: What stages say.
    """

    def __init__(self, client: KubeClient, store: Store, brokers: Brokers, follower: Follower) -> None:
        self._client, self._store, self._brokers, self._follower = client, store, brokers, follower
        self._secrets = _Recent[tuple[str, str], bool](_SECRET_SECONDS)
        self._nodes = _Recent[str, frozenset[str]](_NODE_SECONDS)
        self._namespaces = _Recent[str, bool](_NAMESPACE_SECONDS)

    async def observe(self, task: TaskSeen, look: LookAt, *, fresh: bool) -> Observed:
        """What there is, with the reports of the stages; without verdict, troubles and memory.

        Args:
            task: As read from the store.
            look: What the plan wants to know.
            fresh: List Jobs and pods from the API server.

        Raises:
            PoseTaskError: The API server is away.
        """
        if fresh:
            await self._list(task)
        pods = tuple(pod_seen(body, look.accelerator) for body in self._children(task, "pod"))
        return Observed(
            now=datetime.now(UTC),
            task=task,
            jobs=tuple(job_seen(body) for body in self._children(task, "job")),
            pods=pods,
            fresh=fresh,
            secrets=await self._found(task.namespace, look.secrets) if look.secrets else None,
            unreachable=await self._unreachable(pods),
            kafka=await self._brokers.seen(task.run, groups=look.groups) if look.kafka else None,
            reports=self._follower.reports(task.run),
            namespace_terminating=task.deleting is not None and await self._terminating(task.namespace),
        )

    async def _list(self, task: TaskSeen) -> None:
        labels = f"{RUN_LABEL}={task.run}"
        # Jobs first: a pod of a Job that is made in between is then seen too.
        jobs = await self._client.list(JOBS, task.namespace, labels=labels)
        pods = await self._client.list(PODS, task.namespace, labels=labels)
        self._store.replace("job", task.run, jobs.items, jobs.version)
        self._store.replace("pod", task.run, pods.items, pods.version)

    def _children(self, task: TaskSeen, kind: Kind) -> list[Json]:
        found = self._store.children(kind, task.run)
        return [body for body in found if body["metadata"]["namespace"] == task.namespace]

    async def _found(self, namespace: str, names: Iterable[str]) -> frozenset[str]:
        found = set()
        for name in names:
            there = self._secrets.get((namespace, name))
            if there is None:
                try:
                    there = await self._client.get(SECRETS, namespace, name, metadata_only=True) is not None
                except Forbidden:
                    there = True  # not ours to know; a missing one then shows at the pod
                self._secrets.put((namespace, name), there)
            if there:
                found.add(name)
        return frozenset(found)

    async def _unreachable(self, pods: tuple[PodSeen, ...]) -> frozenset[str]:
        now = datetime.now(UTC)
        late = {
            p.node for p in pods if p.alive and p.node and p.grace_ends is not None and p.grace_ends < now
        }
        if not late:
            return frozenset()
        answering = self._nodes.get("")
        if answering is None:
            try:
                listing = await self._client.list(NODES)
            except Forbidden:
                return frozenset()
            answering = frozenset(n["metadata"]["name"] for n in listing.items if _ready(n) != "Unknown")
            self._nodes.put("", answering)
        return frozenset(late - answering)

    async def _terminating(self, namespace: str) -> bool:
        known = self._namespaces.get(namespace)
        if known is None:
            try:
                found = await self._client.get(NAMESPACES, None, namespace)
            except Forbidden:
                return False
            known = found is None or bool(found["metadata"].get("deletionTimestamp"))
            self._namespaces.put(namespace, known)
        return known


def _ready(node: Json) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "Unknown")


K = TypeVar("K")


class _Recent(Generic[K, T]):
    """Answers that are good for a while."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._known: dict[K, tuple[float, T]] = {}

    def get(self, key: K) -> T | None:
        at, value = self._known.get(key, (float("-inf"), None))
        return value if self._clock() - at < self._seconds else None

    def put(self, key: K, value: T) -> None:
        now = self._clock()
        if len(self._known) > 1000:
            self._known = {k: v for k, v in self._known.items() if now - v[0] < self._seconds}
        self._known[key] = (now, value)
