"""The example's stage over a real broker: as a service beside nothing else, fed by hand, read back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from posetask.messages import DecodeReport, EndOfStream, FrameHeader, Tracks
from posetask.messages.envelope import ForeignMessage
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(180)]

PACKAGE = Path(__file__).parents[3] / "examples" / "stage-package"
ENTRY = "[posetask.stages]\nhands-up = posetask_hands_up.stage:HandsUpStage\n"
FRAMES = 30


@pytest.fixture
def service(broker: Any, tmp_path: Path) -> Iterator[str]:
    """The service's URL; its package is found by the metadata that an installer writes."""
    info = tmp_path / "posetask_hands_up-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: posetask-hands-up\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(ENTRY)
    path = os.pathsep.join([str(tmp_path), str(PACKAGE / "src")])
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "posetask", "service", "hands-up", "--listen", "127.0.0.1:0"),
            *("--state", str(tmp_path / "state"), "--with-parent"),
        ],
        env={**os.environ, "PYTHONPATH": path, "POSETASK_KAFKA": broker.bootstrap},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    yield next(line.split()[-1] for line in process.stderr if "listens on" in line)
    process.terminate()
    process.communicate(timeout=60)


def tracked(index: int, run: str) -> Tracks:
    """One person, whose left hand goes up in every third frame."""
    header = FrameHeader(index, index, Fraction(1, 25), 64, 48, run=run)
    keypoints = np.full((1, 17, 2), 40, np.float32)
    keypoints[0, 0, 1] = 20  # the nose
    keypoints[0, 9, 1] = 5 if index % 3 == 0 else 40
    boxes = np.array([[0, 0, 20, 48]], np.float32)
    one = np.ones(1, np.float32)
    row = np.zeros(1, np.int32)
    return Tracks(header, row + 1, boxes, one, row, keypoints, np.ones((1, 17), np.float32))


def test_it_serves_tasks_like_the_five(service: str, broker: Any, run: str) -> None:
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    begun = httpx.post(service + "/services/start", json={"task_id": run}, timeout=60)
    assert begun.status_code == 202, begun.text
    admin = TopicAdmin(settings)
    topics = [name for name in admin.existing() if name.endswith(run)]
    assert sorted(topics) == [f"bytetrack_{run}", f"hands_up_{run}"], "made by the declaration"
    bus = KafkaBus(settings, run)
    try:
        writer = bus.writer("bytetrack")
        for index in range(FRAMES):
            writer.put(tracked(index, run))
        writer.put(EndOfStream(FRAMES, DecodeReport(frames_decoded=FRAMES)))
        writer.flush()
        reader, said = bus.reader("hands_up", "test"), {}
        while not isinstance(record := reader.get(60), EndOfStream):
            assert isinstance(record, ForeignMessage), "this process lacks the package, and still reads on"
            said[record.header.index] = record.payload
        assert said == {i: (b'{"1": 1}' if i % 3 == 0 else b'{"1": 0}') for i in range(FRAMES)}
        deadline, status = time.monotonic() + 60, ""
        while status != "completed" and time.monotonic() < deadline:
            status = httpx.get(f"{service}/services/{run}/status", timeout=30).json()["status"]
            time.sleep(0.1)
        assert status == "completed"
    finally:
        bus.close()
        admin.delete(topics)
