"""Watches that freeze, break or are refused: a task's life goes on, and /healthz tells of a dead watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.kube, pytest.mark.kafka, pytest.mark.timeout(300)]

KINDS = ("posetasks", "jobs", "pods")


@pytest.fixture
def proxy(kwok: Any, tmp_path: Path) -> Iterator[Any]:
    """A proxy between the operator and the API server."""
    from operatorkit.apiproxy import ApiProxy
    from operatorkit.writes import Ledger

    with ApiProxy(kwok.kubeconfig, tmp_path, Ledger()) as proxy:
        yield proxy


def test_a_frozen_watch_holds_nobody_up_and_ends_the_process(
    make_site: Callable[..., Any], proxy: Any
) -> None:
    site = make_site(kubeconfig=proxy.kubeconfig, options=("--relist-seconds", "2"))
    for kind in KINDS:
        proxy.freeze(kind)
    site.apply()
    site.wait_state("Succeeded", seconds=120)
    site.wait("the lag shows", lambda: site.operator.metric("posetask_watch_lag_seconds") > 0)
    site.wait(
        "/healthz says so",
        lambda: (answer := site.operator.get("/healthz")) is not None and answer.status_code == 503,
        seconds=180,
    )
    assert "the watch has owed a change" in site.operator.get("/healthz").text
    for kind in KINDS:
        proxy.thaw(kind)
    site.wait("it is well again", lambda: site.operator.get("/healthz").status_code == 200)


@pytest.mark.parametrize("code", [410, 429, 500])
def test_reads_that_are_refused_for_a_while_lose_nothing(
    make_site: Callable[..., Any], proxy: Any, code: int
) -> None:
    from operatorkit.player import Part

    site = make_site(kubeconfig=proxy.kubeconfig, options=("--relist-seconds", "2"))
    site.parts["demo"] = Part(seconds=3.0)
    site.apply()
    site.wait_state("Running")
    for kind in KINDS:
        proxy.refuse(kind, code)
    proxy.go_away()
    proxy.go_away(False)
    site.apply("later")
    time.sleep(4)
    for kind in KINDS:
        proxy.refuse(kind, None)
    if site.operator.pid is None:  # Kubernetes would start it anew
        site.operator.start()
    for name in ("demo", "later"):
        site.wait_state("Succeeded", name, seconds=120)
        site.wait_clean(name)
        assert site.status(name)["attempt"] == 1


def test_an_api_server_that_is_away_for_a_while_changes_nothing(
    make_site: Callable[..., Any], proxy: Any
) -> None:
    from operatorkit.player import Part

    site = make_site(kubeconfig=proxy.kubeconfig, options=("--relist-seconds", "2"))
    site.parts["demo"] = Part(seconds=4.0)
    site.apply()
    run = site.wait_state("Running")["run"]
    proxy.go_away()
    time.sleep(3)
    proxy.go_away(False)
    if site.operator.pid is None:
        site.operator.start()
    status = site.wait_state("Succeeded", seconds=120)
    assert (status["run"], status["attempt"]) == (run, 1)
    site.wait_clean()
