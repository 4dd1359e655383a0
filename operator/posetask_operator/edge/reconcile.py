"""One look at one task: observe, plan, apply; and what is remembered between two looks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from posetask_operator.core.actions import Plan, RemoveFinalizer, WriteStatus
from posetask_operator.core.admission import Admission
from posetask_operator.core.claims import holding, request
from posetask_operator.core.observed import Observed, TaskSeen, Trouble
from posetask_operator.core.plan import look_at, plan
from posetask_operator.edge.apply import Applied, Applier, Moved
from posetask_operator.edge.client import Json, KubeClient
from posetask_operator.edge.logs import bound
from posetask_operator.edge.metrics import OperatorMetrics
from posetask_operator.edge.observe import Observer
from posetask_operator.edge.resources import POSETASKS
from posetask_operator.edge.seen import task_seen
from posetask_operator.edge.store import Key, Store
from posetask_operator.edge.workqueue import BackOff
from posetask_operator.settings import Settings

logger = logging.getLogger(__name__)

_LEAST_SECONDS = 1.0


@dataclass
class _Memory:
    """Of one task, by uid: lost with the process, and nothing hangs on it."""

    troubles: tuple[Trouble, ...] = ()
    failures: int = 0
    slow_written_at: datetime | None = None


class Reconciler:
    """Looks at tasks.

    Args:
        settings: The administrator's.
        client: To read a task anew.
        store: What the watches brought.
        observer, applier: The two halves around the plan.
        admission: Who may run, for all tasks.
        metrics: Told of transitions.
        wake: Asks for a look at a task.
    """

    def __init__(
        self,
        settings: Settings,
        client: KubeClient,
        store: Store,
        observer: Observer,
        applier: Applier,
        admission: Admission,
        metrics: OperatorMetrics,
        wake: Callable[[Key], None],
    ) -> None:
        self._settings, self._client, self._store = settings, client, store
        self._observer, self._applier, self._metrics = observer, applier, metrics
        self.admission, self._wake = admission, wake
        self._memories: dict[str, _Memory] = {}
        self._back_off = BackOff()
        self._counted: dict[str, int] = {}

    async def look(self, key: Key) -> float | None:
        """Look at a task; returns the seconds after which to look again, None when something happens.

        Raises:
            LeaseLost: This replica may not work any more.
            PoseTaskError: The API server is away, or the task could not be written.
        """
        body = self._store.task(key)
        if body is None:
            self._forget(key)
            return None
        with bound(namespace=key.namespace, task=key.name):
            try:
                task = task_seen(body)
            except ValidationError as error:
                logger.error("the status of %s cannot be read, nothing is done: %s", key, error)
                self.admission.withdraw(str(key))  # nobody else shall wait for it to be looked at
                return None
            with bound(run=task.run):
                try:
                    return await self._look(task, body)
                except Moved as moved:
                    logger.debug("%s", moved)
                    return await self._again(key, task.uid)

    def begin(self) -> None:
        """This replica works from now on: nothing is granted before every task was looked at once."""
        self.admission.expect(str(key) for key in self._store.keys())  # noqa: SIM118 - no dict

    def capacity(self, counted: Mapping[str, int]) -> None:
        """GPUs of profiles that are counted."""
        for profile, gpus in counted.items():
            self.admission.capacity(profile, gpus)
        self._counted = dict(counted)
        self._wake_ready()

    def gpus(self) -> dict[str, tuple[int, int | None]]:
        """Accelerators given to tasks, and the budget, by profile."""
        profiles = self._settings.profiles.items()
        return {
            name: (self.admission.used(name), self._counted.get(name) if p.gpus is None else p.gpus)
            for name, p in profiles
            if p.accelerator is not None
        }

    async def _look(self, task: TaskSeen, body: Json) -> float | None:
        memory = self._memories.setdefault(task.uid, _Memory())
        seen, made = await self._decide(task, memory)
        applied = await self._applier.apply(task, body, made.actions)
        self._remember(task, memory, seen, applied)
        self._wake_ready()
        if applied.trouble is None:
            memory.failures = 0
            return made.requeue_after
        # The trouble is for the next plan to judge: soon at first, then ever later, or when the plan says.
        memory.failures += 1
        wait = self._back_off.seconds(memory.failures)
        if not made.requeue_after:  # None, or 0: at once, had it gone well
            return wait
        return min(wait, max(_LEAST_SECONDS, made.requeue_after))

    def _wake_ready(self) -> None:
        for name in self.admission.ready():
            self._wake(Key(*name.split("/", 1)))

    async def _decide(self, task: TaskSeen, memory: _Memory) -> tuple[Observed, Plan]:
        seen = await self._observe(task, memory, fresh=False)
        made = plan(seen, self._settings)
        for _ in range(4):  # fresh lists, and a verdict: each is asked for at most once
            if made.needs_fresh and not seen.fresh:
                seen = replace(await self._observe(task, memory, fresh=True), verdict=seen.verdict)
            elif made.wants_admission and seen.verdict is None:
                wish = request(seen, self._settings)
                if wish is None:
                    break
                seen = replace(seen, verdict=self.admission.ask(wish, seen.now))
            else:
                break
            made = plan(seen, self._settings)
        if not made.wants_admission:
            self.admission.withdraw(task.key)
        return seen, made

    async def _observe(self, task: TaskSeen, memory: _Memory, *, fresh: bool) -> Observed:
        found = await self._observer.observe(task, look_at(task, self._settings), fresh=fresh)
        if found.kafka is not None and found.kafka.partitions is not None:
            self.admission.partitions(found.kafka.partitions)
        self.admission.report(task.key, holding(found, self._settings))
        return replace(found, troubles=memory.troubles, slow_written_at=memory.slow_written_at)

    def _remember(self, task: TaskSeen, memory: _Memory, seen: Observed, applied: Applied) -> None:
        done = {type(action).__name__ for action in applied.done}
        left = [t for t in memory.troubles if t.about not in done]
        if applied.trouble is not None:
            left = [t for t in left if t.about != applied.trouble.about] + [applied.trouble]
        memory.troubles = tuple(left)
        for action in applied.done:
            if isinstance(action, RemoveFinalizer) and task.deleting is not None:
                self._metrics.finalizer.observe((seen.now - task.deleting).total_seconds())
            if isinstance(action, WriteStatus):
                memory.slow_written_at = seen.now
                self._metrics.transition(task.status, action.status, self._profile(task))
                if not action.slow:
                    said = action.status
                    logger.info("state %s, reason %s, attempt %d", said.state, said.reason, said.attempt)

    def _profile(self, task: TaskSeen) -> str:
        name = task.spec.scheduling.profile if task.spec is not None else None
        return name if name in self._settings.profiles else self._settings.default_profile

    async def _again(self, key: Key, uid: str) -> float:
        """The task moved on under the plan: read it, and look once more."""
        found = await self._client.get(POSETASKS, key.namespace, key.name)
        if found is None or found["metadata"]["uid"] != uid:
            self._store.drop("task", uid)
        if found is not None:
            self._store.put("task", found)
        return 0.0

    def _forget(self, key: Key) -> None:
        self.admission.forget(str(key))
        self._wake_ready()
        if len(self._memories) > 2 * len(self._store) + 100:
            self._memories = {uid: m for uid, m in self._memories.items() if self._store.has_uid(uid)}
