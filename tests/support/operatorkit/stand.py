"""All that an operator stands on, for benches and crash plans: a cluster of fake nodes, a broker."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubelib.api import Api, condition, wait
from kubelib.cluster import PARTS, Cluster
from kubelib.definitions import install
from kubelib.errors import KubeFailed
from kubelib.kwok import node
from kubelib.ports import free_ports
from operatorkit.kafkaproxy import KafkaProxy, listeners
from operatorkit.process import SYSTEM

ROOT = Path(__file__).parents[3]
KAFKA = ROOT / "scripts" / "kafka"
TASKS = "posetask.io/v1alpha1"


@dataclass(frozen=True)
class Stand:
    """What runs.

    Attributes:
        folder: For files of one's own.
        cluster: With scheduler and kwok.
        api: Directly to its API server.
        bootstrap: Directly to the broker.
    """

    folder: Path
    cluster: Cluster
    api: Api
    bootstrap: str

    def namespace(self, name: str | None = None) -> str:
        """A fresh namespace, with its default service account."""
        name = name or f"test-{uuid.uuid4().hex[:8]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.api.create("namespaces", None, body)
        wait(f"the account of {name}", lambda: self.api.find("v1", "serviceaccounts", name, "default"))
        return name


@contextmanager
def stand(
    folder: Path, nodes: int = 2, gpus: int = 8, proxies: Sequence[KafkaProxy] = (), heap: str = "512m"
) -> Iterator[Stand]:
    """Start all of it; everything ends with this process.

    Args:
        folder: Of data and logs.
        nodes, gpus: Fake nodes, and GPUs of each.
        proxies: Before the broker; each becomes a listener of it.
        heap: Of the broker.

    Raises:
        KubeFailed: A program is missing, or does not start.
    """
    ports = free_ports(len(proxies))
    extra = listeners(list(proxies), ports) if proxies else []
    bootstrap = _broker(folder / "kafka", extra, heap)
    for proxy, port in zip(proxies, ports, strict=True):
        proxy.forward_to(port)
    cluster = Cluster(folder / "kube", tied=True)
    try:
        cluster.start(PARTS)
        api = Api(cluster.kubeconfig)
        made = Stand(folder, cluster, api, bootstrap)
        install(api)
        made.namespace(SYSTEM)
        names = [f"fake-{number}" for number in range(nodes)]
        for name in names:
            api.create("nodes", None, node(name, gpus))
        for name in names:
            wait(f"node {name} takes pods", lambda name=name: _takes_pods(api, name), seconds=60)  # type: ignore[misc]
        yield made
        api.close()
    finally:
        cluster.stop()
        _kafka(folder / "kafka", "stop")


def task(name: str, *, uri: str = "synth:people=2,frames=60", **spec: Any) -> dict[str, Any]:
    """Manifest of a PoseTask."""
    return {
        "apiVersion": TASKS,
        "kind": "PoseTask",
        "metadata": {"name": name},
        "spec": {"source": {"uri": uri}, **spec},
    }


def _takes_pods(api: Api, name: str) -> bool:
    found = api.get("v1", "nodes", None, name)
    return condition(found, "Ready") == "True" and not found["spec"].get("taints")


def _broker(folder: Path, settings: Sequence[str], heap: str) -> str:
    options = [part for setting in settings for part in ("--set", setting)]
    done = _kafka(folder, "start", "--heap", heap, "--with-process", str(os.getpid()), *options)
    if done.returncode:
        raise KubeFailed(f"no broker: {done.stderr.strip()}")
    return done.stdout.strip()


def _kafka(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(KAFKA), *arguments, "--dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
