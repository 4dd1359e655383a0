"""From ``helm install`` to a finished video, and to a clean cluster again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FRAMES = 250
DEMO = [{"name": name, "model": "demo", "accelerator": {"count": 0}} for name in ("yolox", "rtmpose")]


def topics(cluster: Any) -> set[str]:
    """Names of the topics on the broker, by a client inside the operator's pod."""
    program = (
        "import os\nfrom confluent_kafka.admin import AdminClient\n"
        "print('\\n'.join(AdminClient({'bootstrap.servers': "
        "'posetask-kafka-dev.posetask-system.svc:9092'}).list_topics(timeout=30).topics))"
    )
    said = cluster.kubectl(
        "-n", "posetask-system", "exec", "deployment/posetask-operator", "--", "python3", "-c", program
    )
    return set(said.split())


def test_the_demo_gives_a_whole_video_and_leaves_nothing_behind(
    posetask: Any, fetch: Callable[[str], Path], numbers: Callable[[Path], list[int | None]]
) -> None:
    posetask.apply(
        "numbered",
        {
            "source": {"uri": f"synth:people=3,frames={FRAMES},seed=7,size=640x360,number-code"},
            "stages": DEMO,
            "cleanup": {"topicsAfterSeconds": 5, "ttlSecondsAfterSuccess": 15},
        },
    )
    status = posetask.ended("numbered")
    assert status["state"] == "Succeeded", json.dumps(status, indent=1)
    run = status["run"]
    assert status["result"]["frames"] == FRAMES

    video = fetch(status["result"]["uri"])
    assert numbers(video) == list(range(FRAMES))

    posetask.until("numbered", lambda now: _is(now, "CleanedUp", "True"), "it is cleaned up", 300)
    assert not [name for name in topics(posetask) if run in name]
    _gone(lambda: [pod for pod in posetask.items("pods") if run in pod["metadata"]["name"]])
    assert not [job for job in posetask.items("jobs") if run in job["metadata"]["name"]]


def test_an_upload_and_an_applied_task_run_side_by_side(
    posetask: Any, rest: httpx.Client, numbers: Callable[[Path], list[int | None]], tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    posetask.run(
        ".venv/bin/posetask", "synth", "-o", str(clip), "--frames", "120", "--seed", "11", "--number-code"
    )
    posetask.apply(
        "beside", {"source": {"uri": "synth:people=2,frames=150,seed=9,size=640x360"}, "stages": DEMO}
    )
    with clip.open("rb") as file:
        answer = rest.post("/upload", files={"file": ("clip.mp4", file, "video/mp4")})
    assert answer.status_code == 202, answer.text
    task = answer.json()["task_id"]

    early = rest.get(f"/result/{task}")
    assert early.status_code == 404
    assert "result_not_ready" in early.text

    deadline = time.monotonic() + 900
    while (said := rest.get(f"/status/{task}").json())["status"] != "completed":
        assert said["status"] not in ("failed", "cancelled"), said
        assert time.monotonic() < deadline, said
        time.sleep(2)
    assert said["progress"] == "100%"

    result = tmp_path / "result.mp4"
    with rest.stream("GET", f"/result/{task}") as stream:
        assert stream.status_code == 200
        result.write_bytes(b"".join(stream.iter_bytes()))
    assert numbers(result) == list(range(120))
    part = rest.get(f"/result/{task}", headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, result.read_bytes()[:100])
    assert posetask.ended("beside")["state"] == "Succeeded"


def test_an_upgrade_leaves_running_tasks_alone(posetask: Any) -> None:
    posetask.apply(
        "steady", {"source": {"uri": "synth:people=3,frames=400,seed=8,size=640x360"}, "stages": DEMO}
    )
    posetask.until("steady", lambda now: now.get("state") == "Running", "it runs")
    before = {pod["metadata"]["uid"] for pod in posetask.items("pods")}
    posetask.install("upgrade", "--set", "operator.logLevel=debug")
    status = posetask.ended("steady")
    assert status["state"] == "Succeeded", json.dumps(status, indent=1)
    after = {pod["metadata"]["uid"] for pod in posetask.items("pods")}
    assert before == after


def test_the_chart_tests_itself(posetask: Any) -> None:
    said = posetask.helm("test")
    assert "Phase:          Succeeded" in said
    assert "Phase:          Failed" not in said


def test_an_uninstall_is_refused_while_tasks_exist_and_then_clean(posetask: Any) -> None:
    posetask.apply("held", {"source": {"uri": "synth:frames=5000"}, "stages": DEMO})
    posetask.until("held", lambda now: now.get("state") in ("Starting", "Running"), "it was admitted")
    said = posetask.helm("uninstall", check=False)
    assert "posetask-uninstall" in said
    assert posetask.get("posetask", "held")["metadata"].get("deletionTimestamp") is None

    posetask.kubectl("delete", "posetasks", "--all", "-n", "default", "--timeout=180s")
    posetask.helm("uninstall", "--wait")
    assert posetask.kubectl("get", "crd", "posetasks.posetask.io", "-o", "name").strip()
    _gone(lambda: posetask.kubectl("-n", "posetask-system", "get", "all", "-o", "name").split())


def _is(status: dict[str, Any], condition: str, value: str) -> bool:
    return any(c["type"] == condition and c["status"] == value for c in status.get("conditions", []))


def _gone(look: Callable[[], list[Any]], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while left := look():
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(1)
