"""What the watches brought, by task: PoseTasks, and their Jobs and pods. Absence in here proves nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from posetask.transport.kafka.names import run_id
from posetask_operator.core.names import RUN_LABEL

Kind = Literal["task", "job", "pod"]
Json = dict[str, Any]
_GONE_KEPT = 20_000


class Key(NamedTuple):
    """A task: what the queue is keyed by."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Store:
    """Objects as last seen; for one event loop.

    Args:
        changed: Told the task to which a change belongs, and of what kind the object is.
    """

    def __init__(self, changed: Callable[[Key, Kind], None] = lambda *_: None) -> None:
        self._changed = changed
        self._bodies: dict[Kind, dict[str, Json]] = {"task": {}, "job": {}, "pod": {}}  # by uid
        self._tasks: dict[Key, str] = {}
        self._runs: dict[str, Key] = {}
        self._children: dict[tuple[Kind, str], set[str]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()  # version at which it was gone

    def __len__(self) -> int:
        """Tasks."""
        return len(self._tasks)

    def keys(self) -> list[Key]:
        """Of all tasks."""
        return list(self._tasks)

    def task(self, key: Key) -> Json | None:
        """A PoseTask."""
        uid = self._tasks.get(key)
        return None if uid is None else self._bodies["task"].get(uid)

    def tasks(self) -> list[Json]:
        """All PoseTasks."""
        return list(self._bodies["task"].values())

    def states(self) -> dict[str, int]:
        """Count of tasks by their printed state."""
        found: dict[str, int] = {}
        for body in self._bodies["task"].values():
            state = str((body.get("status") or {}).get("state") or "Pending")
            found[state] = found.get(state, 0) + 1
        return found

    def has_uid(self, uid: str) -> bool:
        """Whether a PoseTask of this uid is there."""
        return uid in self._bodies["task"]

    def key_of(self, run: str) -> Key | None:
        """The task of a run."""
        return self._runs.get(run)

    def children(self, kind: Kind, run: str) -> list[Json]:
        """Jobs or pods of a run."""
        return [self._bodies[kind][uid] for uid in sorted(self._children.get((kind, run), ()))]

    def versions(self, kind: Kind) -> dict[str, int]:
        """Version of every object, by uid."""
        return {uid: version(body) for uid, body in self._bodies[kind].items()}

    def places(self, kind: Kind) -> dict[str, tuple[int, str]]:
        """Version and namespace of every object, by uid."""
        return {
            uid: (version(body), str(body["metadata"]["namespace"]))
            for uid, body in self._bodies[kind].items()
        }

    def put(self, kind: Kind, body: Json, *, own: bool = False) -> None:
        """Seen so: by a watch, a list, or as the answer to a write. Older news is passed over.

        ``own``: It answers a write of ours, of which nobody needs to be told.
        """
        uid = body["metadata"]["uid"]
        known = self._bodies[kind].get(uid)
        if known is not None and version(known) >= version(body):
            return
        if self._gone.get(uid, -1) >= version(body):
            return  # late news of what is gone; newer news means that it was not gone at all
        body["metadata"].pop("managedFields", None)  # half of an object, and of no use here
        self._bodies[kind][uid] = body
        key = self._index(kind, body)
        if key is not None and not own:
            self._changed(key, kind)

    def drop(self, kind: Kind, uid: str, at: int = 0) -> None:
        """It is gone; ``at`` is the version of the news, where that is newer than what is known."""
        body = self._bodies[kind].pop(uid, None)
        self._gone[uid] = max(at, self._gone.get(uid, 0), version(body) if body is not None else 0)
        if len(self._gone) > _GONE_KEPT:
            self._gone.popitem(last=False)
        if body is None:
            return
        key = self._key(kind, body)
        if kind == "task" and key is not None and self._tasks.get(key) == uid:
            del self._tasks[key]
            self._runs.pop(run_id(key.name, uid), None)
        elif kind != "task":
            self._unindex(kind, _run(body), uid)
        if key is not None:
            self._changed(key, kind)

    def replace(self, kind: Kind, run: str, bodies: Iterable[Json], at: int) -> None:
        """All there are of a run, by a list of version ``at``: what is newer is rightly not in it."""
        found = {body["metadata"]["uid"]: body for body in bodies}
        for uid in self._children.get((kind, run), set()) - found.keys():
            if version(self._bodies[kind][uid]) <= at:
                self.drop(kind, uid, at)
        for body in found.values():
            self.put(kind, body)

    def _index(self, kind: Kind, body: Json) -> Key | None:
        key = self._key(kind, body)
        uid = body["metadata"]["uid"]
        if kind == "task" and key is not None:
            before = self._tasks.get(key)
            if before is not None and before != uid:
                self.drop("task", before)  # made anew under its name; the watch missed that
            self._tasks[key] = uid
            self._runs[run_id(key.name, uid)] = key
        elif kind != "task":
            self._children.setdefault((kind, _run(body)), set()).add(uid)
        return key

    def _key(self, kind: Kind, body: Mapping[str, Any]) -> Key | None:
        if kind == "task":
            return Key(body["metadata"]["namespace"], body["metadata"]["name"])
        return self._runs.get(_run(body))

    def _unindex(self, kind: Kind, run: str, uid: str) -> None:
        left = self._children.get((kind, run), set())
        left.discard(uid)
        if not left:
            self._children.pop((kind, run), None)


def version(body: Mapping[str, Any]) -> int:
    """ResourceVersion as a number: Kubernetes lets them be compared since 1.35, etcd's always could be.

    >>> version({"metadata": {"resourceVersion": "12"}})
    12
    """
    text = str(body["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdecimal() else 0


def _run(body: Mapping[str, Any]) -> str:
    return str((body["metadata"].get("labels") or {}).get(RUN_LABEL, ""))
