"""A task's surroundings: a real operator, API server and broker, and pods that kwok plays."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]
TASKS = "posetask.io/v1alpha1"
_count = itertools.count()


@dataclass
class Site:
    """One operator in one namespace, and what a test asks of it.

    Attributes:
        api: ``kubelib.api.Api``, around the operator.
        parts: How the stages of a task play, by its name; ``default`` for all others.
    """

    api: Any
    namespace: str
    system: str
    installation: str
    bootstrap: str
    operator: Any
    parts: dict[str, Any]
    waits: float = 60.0
    _admin: list[Any] = field(default_factory=list)

    def apply(self, name: str = "demo", namespace: str | None = None, **spec: Any) -> Json:
        """Make a task; topics go 1 s, Jobs 2 s after its end, unless ``spec`` says otherwise."""
        quick = {"topicsAfterSeconds": 1, "ttlSecondsAfterSuccess": 2, "ttlSecondsAfterFailure": 2}
        body = {
            "apiVersion": TASKS,
            "kind": "PoseTask",
            "metadata": {"name": name},
            "spec": {"source": {"uri": "synth:people=1,frames=60"}, "cleanup": quick, **spec},
        }
        made: Json = self.api.create("posetasks", namespace or self.namespace, body)
        return made

    def task(self, name: str = "demo") -> Json | None:
        found: Json | None = self.api.find(TASKS, "posetasks", self.namespace, name)
        return found

    def status(self, name: str = "demo") -> Json:
        found = self.task(name) or {}
        status: Json = found.get("status") or {}
        return status

    def condition(self, kind: str, name: str = "demo") -> Json:
        found = [c for c in self.status(name).get("conditions", ()) if c["type"] == kind]
        return found[0] if found else {}

    def patch(self, name: str, spec: Json) -> None:
        self.api.patch(TASKS, "posetasks", self.namespace, name, {"spec": spec})

    def delete(self, name: str = "demo") -> None:
        self.api.delete(TASKS, "posetasks", self.namespace, name, policy="Background")

    def wait(self, what: str, check: Callable[[], Any], seconds: float | None = None) -> Any:
        """The first true value; otherwise the operator's log stands in the failure."""
        deadline = time.monotonic() + (seconds or self.waits)
        while not (found := check()):
            if time.monotonic() > deadline:
                pytest.fail(
                    f"not within {seconds or self.waits:.0f} s: {what}; the tasks are\n"
                    f"{self._said()}\n{self.operator.tail()}"
                )
            time.sleep(0.1)
        return found

    def _said(self) -> str:
        lines = []
        for task in self.tasks():
            status = task.get("status") or {}
            said = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status.get("conditions", ())}
            lines.append(f"{task['metadata']['name']}: {status.get('state')} {status.get('attempt')} {said}")
        return "\n".join(lines)

    def tasks(self) -> list[Json]:
        found: list[Json] = self.api.list(TASKS, "posetasks", self.namespace)
        return found

    def wait_state(self, state: str, name: str = "demo", seconds: float | None = None) -> Json:
        self.wait(f"{name} is {state}", lambda: self.status(name).get("state") == state, seconds)
        return self.status(name)

    def wait_clean(self, name: str = "demo") -> Json:
        """Until its topics and Jobs are gone, as the status says and as is true."""
        self.wait(f"{name} is cleaned up", lambda: self.condition("CleanedUp", name).get("status") == "True")
        status = self.status(name)
        self.empty(status["run"])
        return status

    def wait_gone(self, name: str = "demo", seconds: float | None = None) -> None:
        self.wait(f"{name} is gone", lambda: self.task(name) is None, seconds)

    def jobs(self, run: str) -> list[str]:
        found = self.api.list("batch/v1", "jobs", self.namespace, labelSelector=f"posetask.io/run={run}")
        return sorted(job["metadata"]["name"] for job in found)

    def pods(self, run: str) -> list[Json]:
        found: list[Json] = self.api.list(
            "v1", "pods", self.namespace, labelSelector=f"posetask.io/run={run}"
        )
        return found

    def topics(self, run: str) -> set[str]:
        from posetask.transport.kafka.settings import KafkaSettings
        from posetask.transport.kafka.topics import TopicAdmin

        if not self._admin:
            self._admin.append(TopicAdmin(KafkaSettings(bootstrap=self.bootstrap)))
        return {name for name in self._admin[0].existing() if name.endswith(f"_{run}")}

    def empty(self, run: str) -> None:
        """Nothing of the run is left: no Job, no pod, no topic."""
        assert self.jobs(run) == []
        assert self.pods(run) == []
        assert self.topics(run) == set()


@pytest.fixture
def make_site(
    kwok: Any,
    crd: Any,
    fake_nodes: Callable[..., list[str]],
    make_namespace: Callable[..., str],
    broker: Any,
    tmp_path: Path,
) -> Iterator[Callable[..., Site]]:
    """``make_site(gpus=4, profiles={...})``: an operator of an installation of its own, with a player."""
    from operatorkit.player import Part, Player
    from operatorkit.process import Operator, settings

    fake_nodes(2, gpus=8)
    with ExitStack() as stack:

        def make(
            bootstrap: str | None = None,
            options: tuple[str, ...] = (),
            kubeconfig: Path | None = None,
            **more: Any,
        ) -> Site:
            namespace, system = make_namespace(), make_namespace()
            installation = f"t{next(_count)}-{uuid.uuid4().hex[:6]}"
            address = bootstrap or broker.bootstrap
            values = settings(installation, address, namespace=system, **more)
            operator = Operator(
                tmp_path / installation,
                values,
                kubeconfig or kwok.kubeconfig,
                options=("--namespaces", namespace, "--lease-seconds", "12,9,0.5", *options),
            )
            parts: dict[str, Any] = {"default": Part()}
            stack.enter_context(operator)
            player = Player(
                kwok.api, address, lambda _, task: parts.get(task, parts["default"]), frozenset({namespace})
            )
            stack.enter_context(player)
            operator.wait_ready()
            return Site(kwok.api, namespace, system, installation, address, operator, parts)

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """One operator with room for many tasks."""
    return make_site()


@pytest.fixture(scope="module")
def shared_site(kwok: Any, crd: Any, broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One operator for many tests that start no pod; each makes tasks of its own name."""
    from operatorkit.process import Operator, settings

    made = []
    for _ in range(2):
        name = f"shared{next(_count)}-{uuid.uuid4().hex[:6]}"
        kwok.api.create(
            "namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        made.append(name)
    values = settings(made[0], broker.bootstrap, namespace=made[1])
    options = ("--namespaces", made[0])
    folder = tmp_path_factory.mktemp("operator")
    with Operator(folder, values, kwok.kubeconfig, options=options) as operator:
        operator.wait_ready()
        site = Site(kwok.api, made[0], made[1], made[0], broker.bootstrap, operator, {})
        yield site
        for task in site.tasks():
            site.delete(task["metadata"]["name"])
        site.wait("all tasks are gone", lambda: not site.tasks())
    for name in made:
        kwok.api.delete("v1", "namespaces", None, name)
