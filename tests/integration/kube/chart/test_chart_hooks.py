"""The chart's hooks, run beside the cluster with the rights of their accounts: there is no kubelet."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[4] / "charts" / "posetask"
TASKS = "posetask.io/v1alpha1"
Object = dict[str, Any]


def make_task(release: Any, name: str, finalizers: list[str]) -> None:
    body = {
        "apiVersion": TASKS,
        "kind": "PoseTask",
        "metadata": {"name": name, "finalizers": finalizers},
        "spec": {"source": {"uri": "synth:people=1"}},
    }
    release.cluster.api.create("posetasks", release.tasks, body)


def test_uninstall_is_refused_while_tasks_exist(narrow: Any, tmp_path: Path) -> None:
    account = narrow.account("posetask-namespaced-uninstall", tmp_path / "account")
    given = ("--release=posetask-namespaced", f"--account={account}", f"--namespaces={narrow.tasks}")
    assert narrow.script("uninstall.py", *given).stdout == "no PoseTask is left\n"
    make_task(narrow, "left", [])
    try:
        said = narrow.script("uninstall.py", *given)
        assert said.returncode == 1, said.stderr
        assert f"1 PoseTasks are left: {narrow.tasks}/left." in said.stdout
        assert "--set uninstall.deleteTasks=true" in said.stdout
        # Without deleteTasks the account may not delete them either.
        denied = narrow.script("uninstall.py", *given, "--delete")
        assert denied.returncode != 0
        assert "403" in denied.stderr
    finally:
        narrow.cluster.api.delete(TASKS, "posetasks", narrow.tasks, "left")


def test_uninstall_deletes_tasks_and_waits_where_it_was_asked_to(wide: Any, tmp_path: Path) -> None:
    wide.helm("upgrade", CHART, "--reuse-values", "--set", "uninstall.deleteTasks=true")
    account = wide.account("posetask-cluster-uninstall", tmp_path / "account")
    given = ("--release=posetask-cluster", f"--account={account}", "--delete", f"--namespaces={wide.tasks}")
    make_task(wide, "first", [])
    make_task(wide, "second", ["posetask.io/held"])
    late = wide.script("uninstall.py", *given, "--timeout=1")
    assert late.returncode == 1
    assert f"after 1 s 1 PoseTasks are left: {wide.tasks}/second" in late.stdout
    wide.cluster.api.patch(TASKS, "posetasks", wide.tasks, "second", {"metadata": {"finalizers": None}})
    done = wide.script("uninstall.py", *given, "--timeout=30")
    assert done.stdout.splitlines()[-1] == "no PoseTask is left", done.stdout + done.stderr


class _Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def operator_port() -> Iterator[int]:
    """Something that answers /readyz: the test of the chart asks no more of the operator."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ready)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_helm_test_asks_for_a_leader_and_tries_a_task(
    wide: Any, tmp_path: Path, operator_port: int, make_namespace: Any
) -> None:
    api, system = wide.cluster.api, wide.system
    rendered = wide.helm("get hooks")
    hooks = [one for one in yaml.safe_load_all(rendered) if one]
    plurals = {"ServiceAccount": "serviceaccounts", "Role": "roles", "RoleBinding": "rolebindings"}
    for one in hooks:
        if one["kind"] in plurals:
            api.create(plurals[one["kind"]], one["metadata"]["namespace"], one)
    account = wide.account("posetask-cluster-test", tmp_path / "account")
    given = [
        f"--operator=http://127.0.0.1:{operator_port}",
        f"--lease={system}/posetask-operator-main",
        f"--namespace={wide.tasks}",
        f"--account={account}",
    ]
    nobody = wide.script("smoke.py", *given, "--timeout=1")
    assert nobody.returncode == 1
    assert "ok     the operator is ready" in nobody.stdout
    assert "FAILED one replica leads" in nobody.stdout
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "posetask-operator-main"},
    }
    lease["spec"] = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": now}
    api.create("leases", system, lease)
    said = wide.script("smoke.py", *given)
    assert said.stdout.splitlines() == [
        "ok     the operator is ready",
        "ok     one replica leads",
        "ok     the API server takes a PoseTask",
    ], said.stdout + said.stderr
    elsewhere = wide.script(
        "smoke.py", *given[:2], f"--namespace={make_namespace()}", given[3], "--timeout=1"
    )
    assert elsewhere.returncode == 1
    assert "FAILED the API server takes a PoseTask" in elsewhere.stdout
    assert "Forbidden" in elsewhere.stdout
