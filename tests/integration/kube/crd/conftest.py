"""An API server with the CustomResourceDefinition of the checkout, shared by the tests of this folder.

etcd and the API server are enough here: nothing below this folder needs a controller.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from posetask.spec import API_VERSION, KIND, PLURAL

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT / "scripts"))

from kubelib.api import Api, condition, wait  # noqa: E402
from kubelib.cluster import API_SERVER, ETCD, Cluster  # noqa: E402
from kubelib.tools import find  # noqa: E402

Object = dict[str, Any]
_count = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kube)


@pytest.fixture(scope="session")
def schema_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    lacking = [name for name in (ETCD, API_SERVER, "kubectl") if find(name) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not built (run: make kube-build)")
    cluster = Cluster(tmp_path_factory.mktemp("kube"), tied=True)
    cluster.start([ETCD, API_SERVER])
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def kubectl(schema_cluster: Cluster) -> Callable[..., subprocess.CompletedProcess[str]]:
    """kubectl itself, for what people see."""

    def run(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
        program = find("kubectl")
        assert program is not None
        return subprocess.run(
            [program, f"--kubeconfig={schema_cluster.kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture(scope="session")
def api(schema_cluster: Cluster, kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> Iterator[Api]:
    """A client; the definition is there and established."""
    said = kubectl("apply", "-f", ROOT / "crds" / "posetasks.yaml")
    assert said.returncode == 0, said.stderr
    api = Api(schema_cluster.kubeconfig)
    wait(
        "the definition established",
        lambda: (
            condition(
                api.get(
                    "apiextensions.k8s.io/v1", "customresourcedefinitions", None, "posetasks.posetask.io"
                ),
                "Established",
            )
            == "True"
        ),
    )
    wait("its resource served", lambda: api.find(API_VERSION, PLURAL, "default", "nobody") is None)
    api.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "schema"}})
    yield api
    api.close()


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
