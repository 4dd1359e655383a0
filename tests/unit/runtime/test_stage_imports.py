"""A stage's process loads what its own stage needs, and nothing of the others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from posetask.cli import stage
from posetask.runtime.process import StageProcess
from posetask.runtime.stagespec import StageProcessSpec
from posetask.transport.kafka.settings import KafkaSettings
StageProcess(StageProcessSpec(run="x", stage=sys.argv[1]), KafkaSettings())
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""
HEAVY = {"av", "cv2", "lap", "onnxruntime", "pyarrow", "rich"}


@pytest.mark.parametrize(
    ("stage", "needed"),
    [
        ("producer", set()),  # FFmpeg comes with the source, which is opened later
        ("yolox", {"cv2"}),  # ONNX Runtime comes with the model
        ("rtmpose", {"cv2"}),
        ("bytetrack", {"lap"}),
        ("annotator", {"av", "cv2", "pyarrow"}),
    ],
)
def test_a_process_loads_only_what_its_stage_needs(stage: str, needed: set[str]) -> None:
    pytest.importorskip("confluent_kafka")
    done = subprocess.run([sys.executable, "-c", SCRIPT, stage], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(json.loads(done.stdout)) == needed
