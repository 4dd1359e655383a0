"""The whole product on a real cluster; run by ``make e2e``, inside the namespaces of ``make cluster``."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from posetask.media.inputs import open_source, resolve
from posetask.storage.location import Location
from posetask.storage.s3 import S3, S3Settings
from posetask.synth.framecode import read_frame_number

ROOT = Path(__file__).parents[2]
INSIDE = "POSETASK_NODE"
collect_ignore_glob = [] if os.environ.get(INSIDE) else ["test_*.py"]
RELEASE, NAMESPACE, TASKS = "posetask", "posetask-system", "default"
VALUES = tuple(
    f"{name}.yaml"
    for name in ("charts/posetask/values-dev", "hack/cluster/values", "hack/cluster/values-api")
)
TOKEN = secrets.token_hex(32)
Json = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """What a person has in ``make cluster-shell``."""

    def run(self, *command: str, check: bool = True, seconds: float = 600) -> str:
        """Output of a command; with ``check=False`` of a failing one too, stderr included."""
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
        if check:
            assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
            return done.stdout
        return done.stdout + done.stderr

    def kubectl(self, *words: str, check: bool = True) -> str:
        """As a person would."""
        return self.run("kubectl", *words, check=check)

    def helm(self, command: str, *words: str, check: bool = True) -> str:
        """For our release."""
        return self.run("helm", command, RELEASE, "--namespace", NAMESPACE, *words, check=check)

    def install(self, command: str = "install", *words: str) -> str:
        """``helm install`` or ``helm upgrade`` with the values of this machine; waits for the operator."""
        values = [word for path in VALUES for word in ("--values", path)]
        made = ["--create-namespace"] if command == "install" else []
        said = self.helm(command, "charts/posetask", *values, *made, *words)
        for what in (
            "deployment/posetask-operator",
            "statefulset/posetask-kafka-dev",
            "deployment/posetask-api",
        ):
            self.kubectl("-n", NAMESPACE, "rollout", "status", what, "--timeout=300s")
        return said

    def get(self, kind: str, name: str, namespace: str = TASKS) -> Json:
        """One object."""
        found: Json = json.loads(self.kubectl("-n", namespace, "get", kind, name, "-o", "json"))
        return found

    def items(self, kind: str, *words: str, namespace: str = TASKS) -> list[Json]:
        """Objects of a namespace."""
        found: list[Json] = json.loads(self.kubectl("-n", namespace, "get", kind, "-o", "json", *words))[
            "items"
        ]
        return found

    def apply(self, name: str, spec: Json) -> None:
        """Make a PoseTask."""
        manifest = {
            "apiVersion": "posetask.io/v1alpha1",
            "kind": "PoseTask",
            "metadata": {"name": name, "namespace": TASKS},
            "spec": spec,
        }
        command, text = ["kubectl", "apply", "-f", "-"], json.dumps(manifest)
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def until(self, name: str, wanted: Callable[[Json], object], what: str, seconds: float = 600) -> Json:
        """The PoseTask, once ``wanted`` holds of its status."""
        deadline = time.monotonic() + seconds
        while True:
            status: Json = self.get("posetask", name).get("status", {})
            if wanted(status):
                return status
            pods = self.kubectl("-n", TASKS, "get", "pods", check=False)
            assert time.monotonic() < deadline, f"{name}: {what}, not within {seconds} s\n{status}\n{pods}"
            time.sleep(1)

    def ended(self, name: str, seconds: float = 900) -> Json:
        """The status of a PoseTask that is over."""
        over = ("Succeeded", "Failed", "Cancelled")
        return self.until(name, lambda status: status.get("state") in over, "it is over", seconds)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster; bare, with the images brought in."""
    return Cluster()


@pytest.fixture(scope="session")
def posetask(cluster: Cluster) -> Iterator[Cluster]:
    """The chart installed; taken away at the end, whatever happened."""
    cluster.kubectl("create", "namespace", NAMESPACE, check=False)
    cluster.kubectl("-n", NAMESPACE, "delete", "secret", "posetask-api", "--ignore-not-found")
    secret = ("generic", "posetask-api", f"--from-literal=token={TOKEN}")
    cluster.kubectl("-n", NAMESPACE, "create", "secret", *secret)
    cluster.install()
    yield cluster
    cluster.kubectl("delete", "posetasks", "--all", "--all-namespaces", "--timeout=120s", check=False)
    cluster.helm("uninstall", "--wait", check=False)


@pytest.fixture(scope="session")
def store(posetask: Cluster) -> Iterator[S3]:
    """The S3 server of the chart, as seen from the node."""
    service = posetask.get("service", "posetask-storage-dev", NAMESPACE)["spec"]
    settings = S3Settings.from_environment(
        {
            "AWS_ACCESS_KEY_ID": "posetask",
            "AWS_SECRET_ACCESS_KEY": "posetask-dev-only",
            "AWS_ENDPOINT_URL": f"http://{service['clusterIP']}:{service['ports'][0]['port']}",
        }
    )
    with S3(settings) as client:
        yield client


@pytest.fixture
def rest(posetask: Cluster) -> Iterator[httpx.Client]:
    """The REST API, as a client with the token sees it."""
    service = posetask.get("service", "posetask-api", NAMESPACE)["spec"]
    base = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=base, headers=headers, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
def fetch(store: S3, tmp_path: Path) -> Callable[[str], Path]:
    """Copies an ``s3://`` object here."""

    def copy(uri: str) -> Path:
        location = Location.parse(uri)
        path = tmp_path / location.name
        store.fetch(location, path)
        return path

    return copy


@pytest.fixture
def numbers() -> Callable[[Path], list[int | None]]:
    """Reads the burnt-in frame numbers of a video."""

    def read(path: Path) -> list[int | None]:
        (source,) = resolve(path)
        with open_source(source) as reader:
            return [read_frame_number(frame.image) for frame in reader]

    return read
