"""Brokers that are away at any time, or for good; and brokers that two installations share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.kube, pytest.mark.kafka, pytest.mark.timeout(400)]

HOLDS = frozenset({"*"})


def part(**how: Any) -> Any:
    from operatorkit.player import Part

    return Part(**how)


def let_go(site: Any, name: str) -> None:
    """Somebody takes the finalizer away by hand: nobody cleans up after the task."""
    site.delete(name)
    patch = {"metadata": {"finalizers": None}}
    site.api.patch("posetask.io/v1alpha1", "posetasks", site.namespace, name, patch)
    site.wait_gone(name)


def test_a_sweeper_takes_what_is_its_own_and_nothing_else(make_site: Callable[..., Any]) -> None:
    quick = ("--sweep-seconds", "1")
    ours, theirs = make_site(options=quick), make_site(options=quick)
    for site in (ours, theirs):
        site.parts["default"] = part(holds=HOLDS)
        site.apply("stays")
        site.apply("vanishes")
    runs = {
        (site.installation, name): site.wait_state("Running", name)["run"]
        for site in (ours, theirs)
        for name in ("stays", "vanishes")
    }
    ours.operator.kill()
    let_go(ours, "vanishes")
    let_go(theirs, "vanishes")
    swept = runs[theirs.installation, "vanishes"]
    theirs.wait("they swept their own", lambda: theirs.topics(swept) == set())
    time.sleep(3)  # some more of their sweeps
    left = runs[ours.installation, "vanishes"]
    assert len(ours.topics(left)) == 4, "whoever is not there to sweep keeps what is theirs"
    for site in (ours, theirs):
        assert len(site.topics(runs[site.installation, "stays"])) == 4
    assert theirs.operator.metric("posetask_swept_topics_total") == 4
    ours.operator.start()
    ours.wait("we swept ours", lambda: ours.topics(left) == set())
    for site in (ours, theirs):
        assert len(site.topics(runs[site.installation, "stays"])) == 4
        assert site.status("stays")["state"] == "Running"


@pytest.fixture
def own_broker(make_broker: Callable[..., Any]) -> Any:
    """A broker that may be stopped."""
    return make_broker()


def start(broker: Any) -> None:
    broker.command("start", "--with-process", str(os.getpid()))


def test_brokers_away_at_create_and_at_delete_only_make_a_task_wait(
    make_site: Callable[..., Any], own_broker: Any
) -> None:
    site = make_site(bootstrap=own_broker.bootstrap)
    own_broker.command("stop")
    site.apply()
    site.wait("it says so", lambda: site.condition("Admitted").get("reason") == "KafkaUnavailable")
    assert site.condition("Admitted")["resolution"]
    assert site.jobs(site.status()["run"]) == []
    site.parts["demo"] = part(holds=HOLDS)
    start(own_broker)
    run = site.wait_state("Running", seconds=120)["run"]

    own_broker.command("stop")
    site.delete()
    site.wait("its pods are gone", lambda: site.pods(run) == [])
    site.wait("it says so", lambda: site.condition("CleanedUp").get("reason") == "KafkaUnavailable")
    start(own_broker)
    site.wait_gone(seconds=120)
    site.empty(run)


def test_brokers_gone_for_good_let_a_task_go_with_a_note_and_are_swept_later(
    make_site: Callable[..., Any], own_broker: Any
) -> None:
    site = make_site(
        bootstrap=own_broker.bootstrap, timings={"kafka_gone_after": 10}, options=("--sweep-seconds", "2")
    )
    site.parts["demo"] = part(holds=HOLDS)
    site.apply()
    run = site.wait_state("Running")["run"]
    own_broker.command("stop")
    site.delete()
    site.wait_gone(seconds=240)
    note = site.api.get("v1", "configmaps", site.system, f"posetask-abandoned-{run}")
    assert f"raw_frames_{run}" in note["data"]["topics"]
    assert note["data"]["task"] == f"{site.namespace}/demo"
    events = site.api.list("events.k8s.io/v1", "events", site.system)
    assert "TopicsAbandoned" in [event["reason"] for event in events]
    assert site.operator.metric("posetask_orphaned_runs_total") == 1
    assert site.pods(run) == []

    start(own_broker)
    site.wait("what was left is swept", lambda: site.topics(run) == set(), seconds=120)
    site.wait(
        "the note goes with it",
        lambda: site.api.find("v1", "configmaps", site.system, f"posetask-abandoned-{run}") is None,
    )
