"""How a task ends before its time: deleted, cancelled, suspended, its namespace gone, made anew."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.kube, pytest.mark.kafka, pytest.mark.timeout(240)]

HOLDS = frozenset({"*"})
KEEP = {"topicsAfterSeconds": 600, "ttlSecondsAfterSuccess": 600, "ttlSecondsAfterFailure": 600}


def part(**how: Any) -> Any:
    from operatorkit.player import Part

    return Part(**how)


def failure(code: int, reason: str = "NotAVideo") -> Any:
    from posetask.runtime.reports import Failure

    return Failure(reason=reason, message="so it was told", hint="try another", exit_code=code)


def test_a_running_task_that_is_deleted_leaves_nothing(site: Any) -> None:
    site.parts["default"] = part(holds=HOLDS)
    site.apply()
    run = site.wait_state("Running")["run"]
    site.delete()
    site.wait_gone()
    site.empty(run)


def test_a_task_that_waits_or_starts_is_deleted_without_a_trace(make_site: Any) -> None:
    # Room for one; its pods find no node, so it starts for ever.
    nowhere = {"accelerator": "nvidia.com/gpu", "gpus": 2, "node_selector": {"example.org/none": "here"}}
    site = make_site(profiles={"default": nowhere})
    site.apply("starts")
    starts = site.wait_state("Starting", "starts")["run"]
    site.wait("its pods are made", lambda: len(site.pods(starts)) == 5)
    site.apply("waits")
    site.wait_state("Queued", "waits")
    waits = site.status("waits")["run"]
    site.delete("waits")
    site.wait_gone("waits")
    site.empty(waits)
    site.delete("starts")
    site.wait_gone("starts")
    site.empty(starts)


@pytest.mark.parametrize("good", [True, False], ids=["succeeded", "failed"])
def test_an_ended_task_is_deleted_before_its_ttls(site: Any, good: bool) -> None:
    if not good:
        site.parts["demo"] = part(failures={"producer": (failure(20),)})
    site.apply(cleanup=KEEP, retries=0)
    run = site.wait_state("Succeeded" if good else "Failed")["run"]
    assert site.topics(run) != set()
    site.delete()
    site.wait_gone()
    site.empty(run)


def test_a_suspended_task_holds_nothing_goes_on_and_is_deleted(site: Any) -> None:
    site.parts["demo"] = part(holds=HOLDS)
    site.apply()
    run = site.wait_state("Running")["run"]
    topics = site.topics(run)
    site.patch("demo", {"suspend": True})
    site.wait_state("Suspended")
    site.wait("it says so", lambda: site.condition("Suspended").get("status") == "True")
    assert site.jobs(run) == []
    assert site.pods(run) == []
    assert site.topics(run) == topics, "what was computed is kept"
    site.parts["demo"] = part()
    site.patch("demo", {"suspend": False})
    status = site.wait_state("Succeeded")
    assert (status["attempt"], status["run"]) == (2, run)
    site.wait_clean()


def test_a_suspended_task_is_deleted(site: Any) -> None:
    site.parts["demo"] = part(holds=HOLDS)
    site.apply()
    run = site.wait_state("Running")["run"]
    site.patch("demo", {"suspend": True})
    site.wait_state("Suspended")
    site.delete()
    site.wait_gone()
    site.empty(run)


def test_a_cancelled_task_ends_at_once_and_for_good(site: Any) -> None:
    site.parts["demo"] = part(holds=HOLDS)
    site.apply()
    run = site.wait_state("Running")["run"]
    site.patch("demo", {"cancel": True})
    site.wait_state("Cancelled")
    assert site.condition("Succeeded")["reason"] == "Cancelled"
    site.wait("its pods are gone", lambda: site.pods(run) == [])
    assert site.wait_clean()["attempt"] == 1


def test_a_task_is_made_anew_under_its_name(site: Any) -> None:
    site.parts["demo"] = part(holds=HOLDS)
    site.apply()
    first = site.wait_state("Running")["run"]
    site.delete()
    site.wait_gone()
    site.parts["demo"] = part()
    site.apply()
    site.wait("another run", lambda: site.status().get("run") not in {None, first})
    second = site.wait_state("Succeeded")["run"]
    assert second != first
    site.empty(first)
    site.wait_clean()


def test_a_namespace_that_is_deleted_takes_its_tasks_along(site: Any) -> None:
    site.parts["default"] = part(holds=HOLDS)
    site.apply("one")
    site.apply("two")
    runs = [site.wait_state("Running", name)["run"] for name in ("one", "two")]
    site.api.delete("v1", "namespaces", None, site.namespace, policy="Background")
    site.wait(
        "the namespace is gone",
        lambda: site.api.find("v1", "namespaces", None, site.namespace) is None,
        seconds=120,
    )
    for run in runs:
        assert site.topics(run) == set()


def test_a_task_that_was_deleted_while_nobody_watched_goes_at_the_restart(site: Any) -> None:
    site.parts["demo"] = part(holds=HOLDS)
    site.apply()
    run = site.wait_state("Running")["run"]
    site.operator.kill()
    site.delete()
    time.sleep(1)
    assert site.task() is not None, "the finalizer holds it"
    site.operator.start()
    site.wait_gone()
    site.empty(run)
