"""A plan's actions on the API server and the brokers, in order, until one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from posetask.errors import PoseTaskError
from posetask.spec.base import API_VERSION, KIND
from posetask_operator.core.actions import (
    Action,
    AddFinalizer,
    CreateJob,
    CreateTopics,
    DeleteGroups,
    DeleteJob,
    DeletePod,
    DeleteTask,
    DeleteTopics,
    EmitEvent,
    ForgetRun,
    RecordRun,
    RemoveFinalizer,
    TombstoneProgress,
    WriteStatus,
    WriteTombstone,
)
from posetask_operator.core.observed import FINALIZER, TaskSeen, Trouble
from posetask_operator.edge.client import Json, KubeClient
from posetask_operator.edge.events import Events
from posetask_operator.edge.faults import AlreadyThere, Conflict, LeaseLost, NotThere
from posetask_operator.edge.resources import CONFIG_MAPS, JOBS, PODS, POSETASKS, Resource
from posetask_operator.edge.store import Kind, Store
from posetask_operator.edge.tombstone import tombstone
from posetask_operator.edge.topics import Brokers

logger = logging.getLogger(__name__)

Counted = Callable[[str, str], None]
"""Told an action's class, and ``done`` or the reason of its failure."""


class Moved(Exception):
    """The task changed since it was observed: look at it again."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How it went.

    Attributes:
        done: Actions that are done, in order.
        trouble: Of the one that failed; None where all went well.
    """

    done: tuple[Action, ...]
    trouble: Trouble | None = None


class Applier:
    """Does what plans ask for.

    Args:
        client: Fenced by the lease.
        store: Is given the answers, so that the next look sees what was written.
        brokers: For topics and records.
        events: For events.
        namespace: The operator's own.
        counted: See :data:`Counted`.
        beat: Called before every action.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        brokers: Brokers,
        events: Events,
        namespace: str,
        *,
        counted: Counted = lambda *_: None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._store, self._brokers, self._events = client, store, brokers, events
        self._namespace, self._counted, self._beat = namespace, counted, beat

    async def apply(self, task: TaskSeen, body: Json, actions: tuple[Action, ...]) -> Applied:
        """Do the actions in order.

        Args:
            task: As observed.
            body: The object that ``task`` was read from.
            actions: Of the plan.

        Raises:
            Moved: The task is not as it was observed; nothing after that was done.
            LeaseLost: This replica may not write.
            PoseTaskError: The task itself could not be written.
        """
        here = _Here(task, body)
        done: list[Action] = []
        for action in actions:
            self._beat()
            name = type(action).__name__
            try:
                await self._do(here, action)
            except LeaseLost:
                raise
            except PoseTaskError as error:
                self._counted(name, error.reason)
                if isinstance(action, AddFinalizer | RemoveFinalizer | WriteStatus):
                    if isinstance(error, Conflict | NotThere):
                        raise Moved(str(error)) from error
                    raise
                logger.warning("%s: %s", name, error)
                return Applied(tuple(done), _trouble(name, error))
            self._counted(name, "done")
            done.append(action)
        return Applied(tuple(done))

    async def _do(self, here: _Here, action: Action) -> None:
        task = here.task
        match action:
            case AddFinalizer():
                await self._finalizers(here, (*here.finalizers, FINALIZER))
            case RemoveFinalizer():
                await self._finalizers(here, tuple(f for f in here.finalizers if f != FINALIZER))
            case WriteStatus(status=status):
                put = {**here.body, "apiVersion": API_VERSION, "kind": KIND, "status": status.wire()}
                here.body = await self._client.replace(
                    POSETASKS, task.namespace, task.name, put, sub="status"
                )
                self._store.put("task", here.body, own=True)
            case EmitEvent(kind=kind, reason=reason, message=message):
                about = {**here.body, "apiVersion": API_VERSION, "kind": KIND}
                attempt = str((here.body.get("status") or {}).get("attempt", 0))
                await self._events.emit(about, kind, reason, message, once=attempt)
            case RecordRun(record=record):
                await self._brokers.record(record)
            case CreateTopics(topics=topics):
                await self._brokers.create(topics)
            case CreateJob(manifest=manifest):
                made, _ = await self._client.create_or_adopt(JOBS, task.namespace, manifest, task.uid)
                self._store.put("job", made, own=True)
            case DeleteJob(name=name, uid=uid):
                await self._delete("job", JOBS, task.namespace, name, uid)
            case DeletePod(name=name, uid=uid):
                await self._delete("pod", PODS, task.namespace, name, uid)
            case DeleteTask(uid=uid):
                await self._delete("task", POSETASKS, task.namespace, task.name, uid)
            case DeleteGroups(names=names):
                await self._brokers.delete_groups(names)
            case DeleteTopics(names=names):
                await self._brokers.delete(names)
            case TombstoneProgress(run=run, stages=stages):
                await self._brokers.tombstone(run, stages)
            case ForgetRun(run=run):
                await self._brokers.forget(run)
            case WriteTombstone():
                await self._tombstone(action)
            case _:
                assert_never(action)

    async def _finalizers(self, here: _Here, finalizers: tuple[str, ...]) -> None:
        task = here.task
        here.body = await self._client.patch(
            POSETASKS,
            task.namespace,
            task.name,
            {"metadata": {"finalizers": list(finalizers), "uid": task.uid}},
            resource_version=here.body["metadata"]["resourceVersion"],
        )
        self._store.put("task", here.body, own=True)
        if here.body["metadata"].get("deletionTimestamp") and not here.finalizers:
            self._store.drop("task", task.uid)

    async def _delete(self, kind: Kind, resource: Resource, namespace: str, name: str, uid: str) -> None:
        propagation = "Foreground" if kind == "job" else "Background"
        left = await self._client.delete(resource, namespace, name, uid=uid, propagation=propagation)
        if left is not None and "deletionTimestamp" in (left.get("metadata") or {}):
            self._store.put(kind, left, own=True)  # it waits for its pods, or for a finalizer
        else:
            self._store.drop(kind, uid)

    async def _tombstone(self, action: WriteTombstone) -> None:
        body = tombstone(self._namespace, action.name, action.record, action.message)
        try:
            made = await self._client.create(CONFIG_MAPS, self._namespace, body)
        except AlreadyThere:
            return
        await self._events.emit({**body, **made}, "Warning", "TopicsAbandoned", action.message)


class _Here:
    """The task while a plan is applied: it moves on with what is written."""

    def __init__(self, task: TaskSeen, body: Json) -> None:
        self.task, self.body = task, body

    @property
    def finalizers(self) -> tuple[str, ...]:
        return tuple(self.body["metadata"].get("finalizers") or ())


def _trouble(about: str, error: PoseTaskError) -> Trouble:
    return Trouble(about, error.reason, error.message, error.hint, error.retryable)
