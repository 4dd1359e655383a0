"""Names of writes and plans: the same life gives the same names, whatever its uids."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("method", "target", "body", "name"),
    [
        ("POST", "/apis/batch/v1/namespaces/a/jobs", {"metadata": {"name": "demo-0a1b2c3d-yolox-2"}}, "jobs"),
        ("POST", "/apis/batch/v1/namespaces/b/jobs", {"metadata": {"name": "demo-ffffffff-yolox-2"}}, "jobs"),
    ],
)
def test_a_jobs_creation_is_called_the_same_in_every_run(
    method: str, target: str, body: dict[str, Any], name: str
) -> None:
    from operatorkit.writes import describe

    assert describe(method, target, body) == (f"create {name} demo-*-yolox-2", False)


@pytest.mark.parametrize(
    ("method", "target", "body", "what"),
    [
        (
            "POST",
            "/apis/events.k8s.io/v1/namespaces/a/events",
            {"metadata": {"name": "demo.0123456789abcdef"}, "reason": "Admitted"},
            "create events demo Admitted",
        ),
        (
            "PATCH",
            "/apis/posetask.io/v1alpha1/namespaces/a/posetasks/demo",
            {"metadata": {"finalizers": []}},
            "patch posetasks demo finalizers=0",
        ),
        (
            "PUT",
            "/apis/posetask.io/v1alpha1/namespaces/a/posetasks/demo/status",
            {"status": {"conditions": [{"type": "Running", "status": "False"}]}},
            "update posetasks demo status []",
        ),
        ("DELETE", "/api/v1/namespaces/a", None, "delete namespaces a"),
    ],
)
def test_what_tells_writes_apart_stands_in_their_names(
    method: str, target: str, body: dict[str, Any] | None, what: str
) -> None:
    from operatorkit.writes import describe

    assert describe(method, target, body)[0] == what


def test_a_ledger_numbers_what_belongs_to_tasks_alone() -> None:
    from operatorkit.writes import Ledger

    ledger = Ledger()
    first, _ = ledger.begin("update leases a", background=True)
    second, _ = ledger.begin("create jobs a")
    third, _ = ledger.begin("create jobs a")
    assert (first.number, second.number, third.number) == (0, 1, 2)
    assert third.name == "create jobs a #2"
    assert (ledger.open, ledger.most_open) == (2, 2)
    ledger.end(second)
    ledger.end(first)
    assert ledger.open == 1


def test_every_write_has_its_plans_and_a_brokers_write_cannot_answer_409() -> None:
    from operatorkit.crash import FAULTS, SURROUNDINGS, Peace, plans

    peace = {"success": Peace({}, {}, ("create jobs a #1", "kafka produce posetask_runs #1"))}
    known = plans(peace)
    assert len(known) == len(set(known)) == len(FAULTS) + 3 + len(SURROUNDINGS)
    assert "success/kill-after/kafka produce posetask_runs #1" in known
    assert "success/409/kafka produce posetask_runs #1" not in known
    assert "success/stale-list" in known


def test_a_difference_names_what_is_left_over() -> None:
    from operatorkit.world import difference

    peace = {"task": None, "topics": []}
    assert difference(peace, peace) == []
    assert difference(peace, {"task": None, "topics": ["yolox_demo-*"]}) == [
        'topics: [] in peace, ["yolox_demo-*"] here'
    ]
