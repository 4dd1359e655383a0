"""Rights: what the installed operator may do, asked of the API server, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

RIGHTS = yaml.safe_load((Path(__file__).parent / "rights.yaml").read_text())
Object = dict[str, Any]


@pytest.mark.parametrize("where", ["own", "tasks", "elsewhere"])
def test_the_rights_of_the_operator_are_those_of_the_golden_file(release: Any, where: str) -> None:
    namespace = {"own": release.system, "tasks": release.tasks, "elsewhere": "kube-system"}[where]
    seen = release.may_list(f"{release.name}-operator", namespace)
    assert seen == RIGHTS[release.scope][where], yaml.safe_dump(seen)


FORBIDDEN: dict[str, tuple[str, Object]] = {
    "no pods of its own making": ("create", {"resource": "pods", "namespace": "TASKS"}),
    "no shell in a stage": ("create", {"resource": "pods", "subresource": "exec", "namespace": "TASKS"}),
    "no other secrets": ("get", {"resource": "secrets", "name": "other", "namespace": "TASKS"}),
    "no list of secrets": ("list", {"resource": "secrets", "namespace": "TASKS"}),
    "no secrets of its own namespace": ("get", {"resource": "secrets", "name": "x", "namespace": "SYSTEM"}),
    "no tasks of its making": (
        "create",
        {"group": "posetask.io", "resource": "posetasks", "namespace": "TASKS"},
    ),
    "no other leases": (
        "update",
        {"group": "coordination.k8s.io", "resource": "leases", "name": "x", "namespace": "SYSTEM"},
    ),
    "no roles": (
        "create",
        {"group": "rbac.authorization.k8s.io", "resource": "rolebindings", "namespace": "TASKS"},
    ),
    "no namespaces away": ("delete", {"resource": "namespaces", "name": "TASKS"}),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_operator_may_not(release: Any, name: str) -> None:
    verb, what = FORBIDDEN[name]
    places = {"SYSTEM": release.system, "TASKS": release.tasks}
    what = {key: places.get(value, value) for key, value in what.items()}
    account = f"{release.name}-operator"
    assert not release.may(account, verb, what)
    assert release.may(account, "create", {"group": "batch", "resource": "jobs", "namespace": release.tasks})


def test_a_namespaced_operator_sees_nothing_elsewhere(narrow: Any) -> None:
    jobs = {"group": "batch", "resource": "jobs", "namespace": "default"}
    assert not narrow.may("posetask-namespaced-operator", "list", jobs)
    assert not narrow.may("posetask-namespaced-operator", "list", {"resource": "nodes"})


@pytest.mark.parametrize(
    ("role", "verb", "allowed"), [("edit", "create", True), ("view", "create", False), ("view", "get", True)]
)
def test_who_may_edit_a_namespace_may_use_tasks(wide: Any, role: str, verb: str, allowed: bool) -> None:
    from kubelib.api import wait

    def rules() -> list[str]:
        found = wide.cluster.api.get("rbac.authorization.k8s.io/v1", "clusterroles", None, role)
        return [v for rule in found["rules"] or [] if "posetasks" in rule["resources"] for v in rule["verbs"]]

    wait(f"the role {role} has the chart's rules", rules)
    assert (verb in rules()) is allowed
