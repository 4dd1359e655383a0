"""Several processes of a stage on a real broker: what comes out is what one of each leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from posetask.media.inputs import resolve
from posetask.runtime.distributed import DistributedRun
from posetask.runtime.options import RunOptions
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

COUNTS = ("frames_decoded", "frames_annotated", "people", "people_per_frame", "tracks")


def posetask(*args: str | Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "posetask", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture
def weights(tiny_models: tuple[Path, Path]) -> Sequence[str | Path]:
    return ("--detector", tiny_models[0], "--pose", tiny_models[1], "--formats", "jsonl")


def test_replicas_leave_what_one_process_a_stage_leaves(
    long_clip: Path, weights: Sequence[str | Path], settings: KafkaSettings, tmp_path: Path
) -> None:
    common = ("run", long_clip, *weights, "--json", "--kafka", settings.bootstrap)
    one = posetask(*common, "-o", tmp_path / "one.mp4")
    many = posetask(*common, "-o", tmp_path / "many.mp4", "--replicas", "yolox=2,rtmpose=3")
    assert [many[key] for key in COUNTS] == [one[key] for key in COUNTS]
    assert one["frames_annotated"] == 600
    assert (many["models"], many["warnings"]) == (one["models"], [])
    assert set(many["busy"]) == set(one["busy"])
    assert (tmp_path / "many.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert (tmp_path / "many.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()


def test_replicas_that_are_killed_go_on_and_nothing_shows(
    long_clip: Path,
    weights: Sequence[str | Path],
    tiny_models: tuple[Path, Path],
    settings: KafkaSettings,
    tmp_path: Path,
) -> None:
    posetask("run", long_clip, *weights, "--json", "--wire-codec", "jpeg:90", "-o", tmp_path / "whole.mp4")
    given = {"detector": str(tiny_models[0]), "pose": str(tiny_models[1]), "formats": ("jsonl",)}
    run = DistributedRun(
        resolve(long_clip)[0],
        tmp_path / "killed.mp4",
        RunOptions.parse(given),
        settings,
        replicas={"yolox": 2, "rtmpose": 2},
    )
    assert list(run.children) == [
        "producer",
        *(f"{s}.{i}" for s in ("yolox", "rtmpose") for i in range(2)),
        "bytetrack",
        "annotator",
    ]
    run.start()
    hit = []
    for number, name in enumerate(("yolox.1", "rtmpose.0", "yolox.0", "producer", "rtmpose.1")):
        while run.annotated[0] < 20 + 60 * number:
            assert run.wait(0.05) is None, "it ended before it could be disturbed"
        hit.append(run.children[name].kill())
    summary = run.wait()
    assert summary is not None
    assert all(hit)
    assert run.children["yolox.1"].starts >= 2
    assert (summary.frames_decoded, summary.frames_annotated) == (600, 600)
    assert sum(run.reports[f"yolox.{i}"].frames for i in range(2)) == 600
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert [name for name in TopicAdmin(settings).existing() if name.endswith(run.run)] == []
