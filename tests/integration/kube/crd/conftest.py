"""What the tests of the schema share: the session's cluster, the definition in it, a namespace of theirs."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from posetask.spec import API_VERSION, KIND

Object = dict[str, Any]
_count = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kube)


@pytest.fixture(scope="session")
def api(cluster: Any, crd: Any) -> Any:
    """A client; the definition is there, and the namespace ``schema``."""
    if cluster.api.find("v1", "namespaces", None, "schema") is None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "schema"}}
        cluster.api.create("namespaces", None, body)
    return cluster.api


@pytest.fixture(scope="session")
def kubectl(cluster: Any, api: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """kubectl itself, for what people see; what it says and what it complains of are kept apart."""
    from kubelib.tools import find

    program = find("kubectl")
    if program is None:
        pytest.skip("kubectl not built (run: make kube-build)")

    def run(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, f"--kubeconfig={cluster.kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def task() -> Callable[..., Object]:
    """A PoseTask of a specification, under a name that nobody had."""

    def make(spec: Mapping[str, Any], name: str | None = None) -> Object:
        name = name or f"task-{next(_count)}"
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": "schema"},
            "spec": dict(spec),
        }

    return make
