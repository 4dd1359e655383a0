"""A real API server for this folder's tests: ``POSETASK_KUBECONFIG``, or one of our own for the session.

``cluster`` is etcd, API server and controller manager; kwok and the scheduler start with the first test that
asks for ``fake_nodes``. All of it ends with this process, killed or not.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
for _folder in (ROOT / "scripts", ROOT / "tests" / "support"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

NEEDED = ("confluent_kafka", "cryptography", "kopf", "kubernetes")
MISSING = [name for name in NEEDED if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []
TASKS = "posetask.io/v1alpha1"

Nodes = Callable[..., list[str]]
Kubectl = Callable[..., str]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(
            f"NOT RUN: tests/integration/kube ({', '.join(MISSING)} not installed)", red=True
        )


@dataclass(frozen=True)
class Kube:
    """A running API server.

    Attributes:
        kubeconfig: Of somebody who may do everything.
        api: A small synchronous client: ``kubelib.api.Api``.
        own: ``kubelib.cluster.Cluster``; None for a cluster that is not ours.
    """

    kubeconfig: Path
    api: Any
    own: Any

    def need_own(self) -> Any:
        """Our own cluster, whose parts may be started, killed and frozen."""
        if self.own is None:
            pytest.skip("needs a cluster of its own (run: make kube-build, and unset POSETASK_KUBECONFIG)")
        return self.own


@pytest.fixture(scope="session")
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Kube]]:
    """``make_cluster(*parts)`` starts a control plane of one's own; all are stopped at the end."""
    from kubelib.api import Api
    from kubelib.cluster import CORE, Cluster
    from kubelib.errors import KubeFailed

    made: list[Kube] = []

    def make(*parts: str) -> Kube:
        cluster = Cluster(tmp_path_factory.mktemp("kube"), tied=True)
        try:
            cluster.start(parts or CORE)
        except KubeFailed as error:
            if "make kube-build" not in str(error):
                raise
            pytest.skip(f"no Kubernetes: {error}, or set POSETASK_KUBECONFIG or KUBEBUILDER_ASSETS")
        kube = Kube(cluster.kubeconfig, Api(cluster.kubeconfig), cluster)
        made.append(kube)
        return kube

    yield make
    for kube in made:
        kube.api.close()
        kube.own.stop()


@pytest.fixture(scope="session")
def cluster(make_cluster: Callable[..., Kube]) -> Iterator[Kube]:
    """The session's cluster: every test works in namespaces of its own."""
    given = os.environ.get("POSETASK_KUBECONFIG")
    if not given:
        yield make_cluster()
        return
    from kubelib.api import Api

    kube = Kube(Path(given), Api(Path(given)), None)
    if not kube.api.ready():
        pytest.fail(f"POSETASK_KUBECONFIG: {kube.api.server} does not answer /readyz")
    yield kube
    kube.api.close()


@pytest.fixture(scope="session")
def api(cluster: Kube) -> Any:
    """``kubelib.api.Api`` of the session's cluster."""
    return cluster.api


@pytest.fixture(scope="session")
def crd(cluster: Kube) -> Any:
    """The PoseTask definition, installed and served; its manifest comes back."""
    from kubelib.definitions import POSETASKS, install

    if not POSETASKS.is_file():
        pytest.skip(f"{POSETASKS.relative_to(ROOT)} is not there (run: scripts/generate-crds)")
    return install(cluster.api, change=cluster.own is not None)  # in somebody's cluster it is theirs


@pytest.fixture(scope="session")
def kwok(cluster: Kube) -> Kube:
    """The cluster with scheduler and kwok: Jobs make pods, pods are placed, and play what they are told."""
    from kubelib.cluster import KWOK, SCHEDULER
    from kubelib.errors import KubeFailed

    try:
        cluster.need_own().start((SCHEDULER, KWOK))
    except KubeFailed as error:
        if "make kube-build" not in str(error):
            raise
        pytest.skip(str(error))
    return cluster


@pytest.fixture
def fake_nodes(kwok: Kube) -> Iterator[Nodes]:
    """``fake_nodes(2, gpus=4, labels={...})``: nodes that kwok plays, Ready; gone after the test."""
    from kubelib.api import condition, wait
    from kubelib.kwok import node

    names: list[str] = []

    def takes_pods(name: str) -> bool:
        found = kwok.api.get("v1", "nodes", None, name)
        # The taint of a node that is not ready is taken off a moment after it is.
        return condition(found, "Ready") == "True" and not found["spec"].get("taints")

    def make(count: int = 1, gpus: int = 0, labels: dict[str, str] | None = None) -> list[str]:
        new = [f"fake-{uuid.uuid4().hex[:8]}" for _ in range(count)]
        for name in new:
            kwok.api.create("nodes", None, node(name, gpus, labels))
            names.append(name)
        for name in new:
            wait(f"node {name} takes pods", lambda name=name: takes_pods(name), seconds=60)
        return new

    yield make
    for name in names:
        kwok.api.delete("v1", "nodes", None, name)


_count = itertools.count()


@pytest.fixture
def make_namespace(cluster: Kube) -> Iterator[Callable[..., str]]:
    """``make_namespace()``: a fresh namespace, with its default service account; deleted after the test."""
    from kubelib.api import wait

    made: list[str] = []

    def make(labels: dict[str, str] | None = None) -> str:
        name = f"test{next(_count)}-{uuid.uuid4().hex[:6]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
        cluster.api.create("namespaces", None, body)
        made.append(name)
        # Without it no pod is admitted.
        wait(
            f"the default account of {name}",
            lambda: cluster.api.find("v1", "serviceaccounts", name, "default"),
        )
        return name

    yield make
    for name in made:
        _free(cluster.api, name)
        cluster.api.delete("v1", "namespaces", None, name)


@pytest.fixture
def namespace(make_namespace: Callable[..., str]) -> str:
    """A fresh namespace."""
    return make_namespace()


def _free(api: Any, namespace: str) -> None:
    """No operator is left that would release its tasks: a namespace must not stay for ever."""
    from kubelib.api import Refused

    with contextlib.suppress(Refused):
        for task in api.list(TASKS, "posetasks", namespace):
            if task["metadata"].get("finalizers"):
                name = task["metadata"]["name"]
                with contextlib.suppress(Refused):
                    api.patch(TASKS, "posetasks", namespace, name, {"metadata": {"finalizers": None}})


@pytest.fixture(scope="session")
def kubectl(cluster: Kube, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """``kubectl("get", "pt", stdin=..., check=False)``: what the real one prints, errors included."""
    from kubelib.errors import KubeFailed
    from kubelib.tools import need

    try:
        program: str | Path = need("kubectl")
    except KubeFailed as error:
        found = shutil.which("kubectl")
        if found is None:
            pytest.skip(str(error))
        program = found
    home = tmp_path_factory.mktemp("kubectl")
    environment = {"PATH": os.defpath, "HOME": str(home), "KUBECONFIG": str(cluster.kubeconfig)}

    def call(*arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [program, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
        said = done.stdout + done.stderr
        if check and done.returncode:
            pytest.fail(f"kubectl {' '.join(map(str, arguments))} exits with {done.returncode}: {said}")
        return said

    return call
