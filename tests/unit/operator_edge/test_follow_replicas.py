"""Replicas of a stage speak under keys of their own, and are seen as one stage."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from posetask.transport.kafka.settings import KafkaSettings
from posetask_operator.core.observed import ReportSeen
from posetask_operator.edge.follow import Follower, parse_report

Heard = list[tuple[str, str | None, str | None]]


def report(stage: str, millis: int = 1_000, **said: Any) -> ReportSeen:
    found = parse_report(stage, json.dumps(said).encode(), millis)
    assert found is not None
    return found


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture
def follower(heard: Heard) -> Follower:
    def note(run: str, before: ReportSeen | None, now: ReportSeen | None) -> None:
        heard.append((run, before and before.state, now and now.state))

    return Follower(KafkaSettings(), note)


def test_counts_are_summed_and_keys_are_kept_apart(follower: Follower) -> None:
    said = {"state": "running", "facts": {"model": {"name": "m"}}}
    follower.put_report("a", "yolox.0", report("yolox", 5_000, **said, frames=7, lag={"raw_frames": 2}), 0)
    follower.put_report("a", "yolox.1", report("yolox", 9_000, **said, frames=6, quarantined=1), 1)
    follower.put_report("a", "producer", report("producer", state="done", frames=20), 2)
    found = follower.reports("a")
    assert sorted(found) == ["producer", "yolox"]
    both = found["yolox"]
    assert (both.frames, both.lag, both.quarantined, both.state) == (13, 2, 1, "running")
    assert both.at.timestamp() == 9
    assert both.facts["model"]["name"] == "m"
    assert follower.keys("a") == {"producer", "yolox.0", "yolox.1"}


@pytest.mark.parametrize(
    ("states", "seen"),
    [
        (("done", "done"), "done"),
        (("done", "running"), "running"),
        (("starting", "running"), "starting"),
        (("running", "failed"), "failed"),
        (("stopped", "running"), "stopped"),
    ],
)
def test_a_stage_is_as_far_as_its_last_replica(
    states: tuple[str, ...], seen: str, follower: Follower
) -> None:
    for number, state in enumerate(states):
        error = {"reason": "TopicLost", "message": "gone"} if state == "failed" else None
        follower.put_report("a", f"yolox.{number}", report("yolox", state=state, error=error), number)
    found = follower.reports("a")["yolox"]
    assert found.state == seen
    assert (found.error is not None) == (seen == "failed")


def test_a_key_that_is_taken_away_takes_only_its_replica(follower: Follower, heard: Heard) -> None:
    for number in range(2):
        follower.put_report("a", f"yolox.{number}", report("yolox", state="done", frames=4), number)
    follower.put_report("a", "yolox.0", None, 2)
    assert follower.reports("a")["yolox"].frames == 4
    assert follower.keys("a") == {"yolox.1"}
    follower.put_report("a", "yolox.1", None, 3)
    assert follower.reports("a") == {}
    assert follower.keys("a") == frozenset()
    assert heard == [("a", None, "done"), ("a", None, "done"), ("a", "done", None), ("a", "done", None)]
