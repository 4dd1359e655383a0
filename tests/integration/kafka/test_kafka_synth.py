"""A synthetic world over a real broker: no file anywhere, and the embedded run's result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

URI = "synth:people=2,frames=40,seed=7,size=320x180,number-code"


def posetask(*args: str | Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "posetask", *map(str, args), "--models", "demo", "--json"],
        capture_output=True,
        text=True,
        env=os.environ.copy(),
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def test_a_world_is_the_same_embedded_and_over_kafka(broker: Any, tmp_path: Path) -> None:
    a = posetask("run", URI, "-o", tmp_path / "a.mp4", "--wire-codec", "jpeg:90", "--formats", "jsonl")
    b = posetask("run", URI, "-o", tmp_path / "b.mp4", "--kafka", broker.bootstrap, "--formats", "jsonl")
    for key in (
        "source",
        "frames_declared",
        "frames_decoded",
        "frames_annotated",
        "people",
        "tracks",
        "warnings",
    ):
        assert a[key] == b[key], key
    assert b["frames_annotated"] == 40
    assert b["tracks"] >= 1
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
