"""The cluster that the other tests here stand on: it serves, plays pods, and ends with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.timeout(180)]

SCRIPTS = Path(__file__).parents[3] / "scripts"


def job(name: str, annotations: dict[str, str], gpus: int = 0) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    container = {"name": "main", "image": "none", "resources": {"limits": limits}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }


def test_kubectl_sees_the_namespace_that_a_test_was_given(
    kubectl: Callable[..., str], namespace: str
) -> None:
    assert f"namespace/{namespace}" in kubectl("get", "namespace", namespace, "-o", "name")
    refused = kubectl("get", "configmap", "none", "-n", namespace, check=False)
    assert "NotFound" in refused


@pytest.mark.parametrize(
    ("annotations", "condition"),
    [
        ({"fake.posetask.io/exit-code": "0"}, "Complete"),
        ({"fake.posetask.io/exit-code": "26", "fake.posetask.io/exit-message": "lost"}, "Failed"),
    ],
)
def test_a_job_ends_as_its_pods_annotation_says(
    fake_nodes: Callable[..., list[str]],
    api: Any,
    namespace: str,
    annotations: dict[str, str],
    condition: str,
) -> None:
    from kubelib.api import condition as status_of
    from kubelib.api import wait

    fake_nodes(1, gpus=1)
    api.create("jobs", namespace, job("played", annotations, gpus=1))
    wait(
        f"the Job is {condition}",
        lambda: status_of(api.get("batch/v1", "jobs", namespace, "played"), condition) == "True",
    )
    (pod,) = api.list("v1", "pods", namespace)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert str(ended["exitCode"]) == annotations["fake.posetask.io/exit-code"]
    assert ended.get("message", "") == annotations.get("fake.posetask.io/exit-message", "")


def test_more_gpus_than_there_are_leave_a_pod_pending(
    fake_nodes: Callable[..., list[str]], api: Any, namespace: str
) -> None:
    from kubelib.api import condition, wait

    fake_nodes(1, gpus=2)
    api.create("jobs", namespace, job("greedy", {}, gpus=3))

    def refused() -> bool:
        pods = api.list("v1", "pods", namespace)
        return bool(pods) and condition(pods[0], "PodScheduled") == "False"

    wait("the scheduler says no", refused)
    (pod,) = api.list("v1", "pods", namespace)
    assert "Insufficient nvidia.com/gpu" in pod["status"]["conditions"][0]["message"]


def test_a_cluster_does_not_outlive_a_killed_owner(cluster: Any, tmp_path: Path) -> None:
    cluster.need_own()
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from kubelib.cluster import Cluster\n"
            "c = Cluster(Path(sys.argv[1]), tied=True); c.start(); print(*c.running, flush=True)\n"
            "time.sleep(600)",
            str(tmp_path / "kube"),
        ],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        with owner.stdout as said:
            parts = said.readline().split()
        assert parts == ["etcd", "kube-apiserver", "kube-controller-manager"]
        owner.send_signal(signal.SIGKILL)
        owner.wait(30)
        pids = [int(path.read_text()) for path in (tmp_path / "kube").glob("*.pid")]
        assert len(pids) == 3
        deadline = time.monotonic() + 30
        while (left := [pid for pid in pids if lives(pid, tmp_path)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left
    finally:
        owner.kill()
        owner.wait(30)


def lives(pid: int, folder: Path) -> bool:
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
