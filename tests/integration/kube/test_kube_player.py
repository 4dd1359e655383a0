"""The player of stages: what it says and does under kwok is what a stage would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.kafka, pytest.mark.timeout(180)]


def job(run: str, stage: str) -> dict[str, Any]:
    labels = {"posetask.io/run": run, "posetask.io/stage": stage, "posetask.io/attempt": "1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{run}-{stage}", "labels": labels},
        "spec": {
            "backoffLimit": 2,
            "template": {
                "metadata": {"labels": {**labels, "posetask.io/task": "demo"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "stage", "image": "none"}]},
            },
        },
    }


def test_stages_say_how_far_they_are_fail_as_told_and_end(
    fake_nodes: Callable[..., list[str]], api: Any, namespace: str, broker: Any
) -> None:
    from kubelib.api import condition, wait
    from operatorkit.player import Part, Player
    from posetask.runtime.reports import Failure
    from posetask.transport.kafka.progress import ProgressReader, make_progress_topic
    from posetask.transport.kafka.settings import KafkaSettings
    from posetask.transport.kafka.topics import TopicAdmin

    settings = KafkaSettings(bootstrap=broker.bootstrap)
    make_progress_topic(TopicAdmin(settings))
    reader = ProgressReader(settings, "demo-0a1b2c3d")
    fake_nodes(1)
    lost = Failure(reason="ModelFailed", message="no model", exit_code=1)
    part = Part(frames=30, seconds=0.3, gang=2, failures={"yolox": (lost,)})
    said: dict[str, list[dict[str, Any]]] = {"producer": [], "yolox": []}
    with Player(api, broker.bootstrap, lambda *_: part, frozenset({namespace})):
        api.create("jobs", namespace, job("demo-0a1b2c3d", "producer"))
        time.sleep(0.5)  # alone it does not begin: the gang is of two
        api.create("jobs", namespace, job("demo-0a1b2c3d", "yolox"))

        def done(name: str) -> bool:
            found = api.get("batch/v1", "jobs", namespace, f"demo-0a1b2c3d-{name}")
            return condition(found, "Complete") == "True"

        wait("both Jobs are complete", lambda: done("producer") and done("yolox"), seconds=90)
        deadline = time.monotonic() + 60
        while (
            time.monotonic() < deadline and [s[-1:] and s[-1]["state"] for s in said.values()] != ["done"] * 2
        ):
            for word in reader.poll(0.5):
                assert word.value is not None
                said[word.stage].append(json.loads(word.value))
    reader.close()
    assert [one["frames"] for one in said["producer"]] == [0, 10, 20, 30]
    assert said["producer"][-1]["facts"]["decode"]["frames_declared"] == 30
    states = [one["state"] for one in said["yolox"]]
    assert states == ["running", "running", "running", "failed", "running", "running", "running", "done"]
    failed = next(one for one in said["yolox"] if one["state"] == "failed")
    assert failed["error"]["reason"] == "ModelFailed"
    codes = [
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        for pod in api.list("v1", "pods", namespace, labelSelector="posetask.io/stage=yolox")
    ]
    assert sorted(codes) == [0, 1]
