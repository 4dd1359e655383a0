"""A task's whole way, on a real API server, controller manager and broker."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.kafka, pytest.mark.timeout(240)]

STAGES = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")


def part(**how: Any) -> Any:
    from operatorkit.player import Part

    return Part(**how)


def test_a_task_is_admitted_runs_succeeds_and_leaves_nothing(site: Any) -> None:
    site.parts["demo"] = part(seconds=4.0)
    site.apply()
    status = site.wait_state("Running")
    run = status["run"]
    assert site.jobs(run) == sorted(f"{run}-{stage}-1" for stage in STAGES)
    assert site.topics(run) == {f"{t}_{run}" for t in ("raw_frames", "yolox", "rtmpose", "bytetrack")}
    assert status["ready"] == "5/5"
    site.wait("progress shows", lambda: site.status().get("progress", {}).get("framesAnnotated"))

    status = site.wait_state("Succeeded")
    assert status["progress"]["percent"] == 100
    assert status["result"] == {
        **status["result"],
        "uri": f"s3://results/{site.namespace}/{run}/demo.mp4",
        "frames": 60,
        "tracks": 2,
    }
    assert (
        status["completionTime"]
        >= status["startTime"]
        >= status["admittedTime" if "admittedTime" in status else "startTime"]
    )
    status = site.wait_clean()
    assert status["attempt"] == 1
    assert (site.condition("Succeeded")["status"], site.condition("DataIntact")["status"]) == ("True", "True")


@pytest.mark.slow
def test_events_mark_the_way_and_are_written_once(site: Any) -> None:
    site.apply()
    site.wait_clean()
    found = site.api.list("events.k8s.io/v1", "events", site.namespace)
    said = [e["reason"] for e in found if e["regarding"]["kind"] == "PoseTask"]
    for reason in ("Admitted", "AllReady", "Completed"):
        assert said.count(reason) == 1, said


def test_a_finished_task_is_never_run_again(site: Any) -> None:
    """Not when its Jobs are gone, not after a restart, and not when somebody deletes them early."""
    site.apply("early", cleanup={"topicsAfterSeconds": 600, "ttlSecondsAfterSuccess": 600})
    site.apply("late")
    run = site.wait_state("Succeeded", "early")["run"]
    for job in site.jobs(run):
        site.api.delete("batch/v1", "jobs", site.namespace, job)
    late = site.wait_clean("late")
    site.operator.kill()
    site.operator.start()
    site.operator.wait_ready()
    site.wait("the new process leads", lambda: site.operator.leads)
    time.sleep(3)
    assert site.jobs(run) == site.jobs(late["run"]) == []
    assert site.topics(late["run"]) == set()
    for name in ("early", "late"):
        assert (site.status(name)["state"], site.status(name)["attempt"]) == ("Succeeded", 1)


@pytest.mark.slow
def test_a_restart_adopts_what_runs(site: Any) -> None:
    site.parts["demo"] = part(seconds=6.0)
    site.apply()
    run = site.wait_state("Running")["run"]
    before = {job["metadata"]["uid"] for job in site.api.list("batch/v1", "jobs", site.namespace)}
    site.operator.kill()
    site.operator.start()
    site.wait("the new process leads", lambda: site.operator.leads)
    after = {job["metadata"]["uid"] for job in site.api.list("batch/v1", "jobs", site.namespace)}
    assert before == after
    assert len(before) == len(STAGES)
    status = site.wait_state("Succeeded")
    assert (status["run"], status["attempt"]) == (run, 1)
    site.wait_clean()


@pytest.mark.slow
def test_a_fused_task_is_one_job_without_topics(site: Any) -> None:
    site.parts["demo"] = part(gang=1, seconds=3.0)
    site.apply(execution={"mode": "Fused"})
    status = site.wait_state("Running")
    assert site.jobs(status["run"]) == [f"{status['run']}-fused-1"]
    assert site.topics(status["run"]) == set()
    assert site.condition("TopicsReady")["reason"] == "NoTopicsNeeded"
    site.wait_state("Succeeded")
    site.wait_clean()


@pytest.mark.slow
def test_a_stage_of_ones_own_comes_from_the_catalogue(make_site: Any) -> None:
    faces = {
        "image": "localhost/lab/faces:1",
        "port": 8110,
        "inputs": ["raw_frames", "bytetrack"],
        "output": "faces",
        "parameters": {"properties": {"blur": {"type": "number", "minimum": 0}}},
    }
    site = make_site(stages={"lab-faces": faces})
    site.parts["demo"] = part(gang=6, seconds=3.0)
    site.apply(stages=[{"name": "faces", "type": "lab-faces", "parameters": {"blur": "0.5"}}])
    run = site.wait_state("Running")["run"]
    job = site.api.get("batch/v1", "jobs", site.namespace, f"{run}-faces-1")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "localhost/lab/faces:1"
    assert {"name": "POSETASK_STAGE_PARAMETERS", "value": '{"blur": 0.5}'} in container["env"]
    assert f"faces_{run}" in site.topics(run)
    site.wait_state("Succeeded")
    site.wait_clean()


@pytest.mark.slow
def test_a_task_that_deletes_itself_goes_with_its_jobs(site: Any) -> None:
    quick = {"topicsAfterSeconds": 0, "ttlSecondsAfterSuccess": 1, "deleteSelf": True}
    site.apply(cleanup=quick)
    run = site.wait("a run", lambda: site.status().get("run"))
    site.wait_gone()
    site.empty(run)
