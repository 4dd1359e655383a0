"""A lane: one installation of the operator behind proxies of its own, and the lives of tasks that it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubelib.api import Refused, condition
from operatorkit.apiproxy import ApiProxy
from operatorkit.kafkaproxy import KafkaProxy
from operatorkit.player import Part, Player
from operatorkit.process import Operator, settings
from operatorkit.stand import TASKS, Stand, task
from operatorkit.world import Children, World, task_world
from operatorkit.writes import Ledger
from posetask.transport.kafka.names import run_id

NAME = "demo"
"""Of every task here: its writes are called the same in every life."""
QUICK = {"topicsAfterSeconds": 0, "ttlSecondsAfterSuccess": 1, "ttlSecondsAfterFailure": 1}
FAST_LEASE = ("--lease-seconds", "3,2,0.5")


class Stuck(Exception):
    """A life does not go on."""


@dataclass(frozen=True)
class Life:
    """A task's way, as a user and its stages make it.

    Attributes:
        part: How its stages play.
        spec: Over the defaults.
        until: State at which the user acts; then the task is deleted, or ``patch`` is applied to its spec.
        patch: None = delete at once.
    """

    part: Part = field(default_factory=Part)
    spec: dict[str, Any] = field(default_factory=dict)
    until: str = "Succeeded"
    patch: dict[str, Any] | None = None


LIVES: dict[str, Life] = {
    "success": Life(),
    "deleted": Life(part=Part(holds=frozenset({"*"})), until="Running"),
    "canceled": Life(part=Part(holds=frozenset({"*"})), until="Running", patch={"cancel": True}),
}
"""By name: to the end, deleted while it runs, canceled while it runs."""


class Replica:
    """One process of the operator, with proxies of its own before API server and broker.

    Args:
        on: What it stands on.
        kafka: The proxy before the broker, made before the broker was.
        folder: Of its files.
        values: Its settings.
        options: Of its command line.
    """

    def __init__(
        self, on: Stand, kafka: KafkaProxy, folder: Path, values: dict[str, Any], options: Sequence[str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ledger: Ledger = kafka.ledger
        self.kafka = kafka
        self.api = ApiProxy(on.cluster.kubeconfig, folder, self.ledger)
        self.operator: Operator
        self._folder, self._values, self._options = folder, values, options

    @contextmanager
    def running(self) -> Iterator[Replica]:
        """Proxy and process."""
        with self.api:
            self.operator = Operator(
                self._folder,
                self._values,
                self.api.kubeconfig,
                bootstrap=self.kafka.bootstrap,
                options=self._options,
            )
            try:
                yield self
            finally:
                self.operator.kill()


class Lane:
    """One installation, in namespaces of its own. Use it as a context.

    Args:
        on: What it stands on.
        name: Of its files, namespaces and installation.
        kafkas: One a replica.
        lease: Options of the lease.
        timings: Over those of tests.
    """

    def __init__(
        self,
        on: Stand,
        name: str,
        kafkas: Sequence[KafkaProxy],
        lease: Sequence[str] = FAST_LEASE,
        timings: dict[str, int] | None = None,
    ) -> None:
        self.on, self.name = on, name
        self.system, self.namespace = on.namespace(f"{name}-system"), on.namespace(f"{name}-tasks")
        values = settings(name, on.bootstrap, namespace=self.system, timings=timings)
        options = [*lease, "--namespaces", self.namespace, "--relist-seconds", "5", "--sweep-seconds", "5"]
        self.replicas = [
            Replica(on, kafka, on.folder / f"{name}-{number}", values, options)
            for number, kafka in enumerate(kafkas)
        ]
        self.children = Children(on.api, self.namespace)
        self.part = Part()
        self.runs: set[str] = set()
        self.keep_running = True
        self._stack = ExitStack()

    def __enter__(self) -> Lane:
        for replica in self.replicas:
            self._stack.enter_context(replica.running())
        choose: Callable[[str, str], Part] = lambda *_: self.part  # noqa: E731
        self._stack.enter_context(Player(self.on.api, self.on.bootstrap, choose, frozenset({self.namespace})))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start what does not run; returns when one leads."""
        self.tend()
        self.until("one replica leads", lambda: any(one.operator.leads for one in self.replicas), 120)

    def tend(self) -> None:
        """Start the processes that have ended."""
        if self.keep_running:
            for replica in self.replicas:
                replica.operator.start()

    def live(self, life: Life, seconds: float = 240) -> tuple[World, World]:
        """A whole life; what is left when the task is cleaned up, and when it is gone.

        Raises:
            Stuck: It does not come to its end; says how far it came.
        """
        self.part = life.part
        self.children.clear()
        for replica in self.replicas:
            replica.ledger.clear()
        deadline = time.monotonic() + seconds
        made = self.on.api.create("posetasks", self.namespace, task(NAME, cleanup=QUICK, **life.spec))
        self.runs.add(run_id(NAME, made["metadata"]["uid"]))
        self.until(life.until, lambda: self.state() == life.until, deadline - time.monotonic())
        if life.patch is not None:
            self.on.api.patch(TASKS, "posetasks", self.namespace, NAME, {"spec": life.patch})
        cleaned: World = {}
        if life.until == "Succeeded" or life.patch is not None:
            self.until("cleaned up", self._cleaned, deadline - time.monotonic())
            cleaned = self.world()
        self.on.api.delete(TASKS, "posetasks", self.namespace, NAME, "Background")
        self.until("gone", self._gone, deadline - time.monotonic())
        return cleaned, self.world()

    def world(self) -> World:
        """What is left now."""
        return task_world(self.on.api, self.namespace, NAME, self.on.bootstrap, frozenset(self.runs))

    def state(self) -> str:
        """The task's, as printed."""
        found = self.on.api.find(TASKS, "posetasks", self.namespace, NAME) or {}
        return str((found.get("status") or {}).get("state", ""))

    def until(self, what: str, check: Callable[[], object], seconds: float) -> None:
        """Wait, and keep the processes running.

        Raises:
            Stuck: Not in time.
        """
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                tails = "\n".join(replica.operator.tail(2000) for replica in self.replicas)
                found = self.on.api.find(TASKS, "posetasks", self.namespace, NAME) or {}
                raise Stuck(f"{what}: never; the task is {found.get('status')}; {tails}")
            self.tend()
            time.sleep(0.1)

    def clear(self) -> None:
        """Take away by force what a stuck life left."""
        patch = {"metadata": {"finalizers": None}}
        for one in self.on.api.list(TASKS, "posetasks", self.namespace):
            name = one["metadata"]["name"]
            self.on.api.delete(TASKS, "posetasks", self.namespace, name, "Background")
            try:
                self.on.api.patch(TASKS, "posetasks", self.namespace, name, patch)
            except Refused as error:
                if error.code != 404:
                    raise

    def _cleaned(self) -> bool:
        found = self.on.api.find(TASKS, "posetasks", self.namespace, NAME) or {}
        return condition(found, "CleanedUp") == "True" and not self._children_left()

    def _gone(self) -> bool:
        there = self.on.api.find(TASKS, "posetasks", self.namespace, NAME)
        return there is None and not self._children_left()

    def _children_left(self) -> bool:
        kinds = (("batch/v1", "jobs"), ("v1", "pods"))
        return any(self.on.api.list(version, kind, self.namespace) for version, kind in kinds)
