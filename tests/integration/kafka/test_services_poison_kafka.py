"""A frame that kills the service of two tasks, on a real broker: only the task that has it pays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetask.errors import Unavailable
from posetask.messages import DecodeReport, Detections, EndOfStream, FrameHeader
from posetask.runtime.service.client import ServiceClient
from posetask.runtime.service.fleet import Fleet, Member
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

FRAMES, POISON = 120, 30
STAGE = '''
"""Dies of the frame that its parameter names."""
import os, time
from posetask.messages import Detections
from posetask.stages import Stage, StageParameters

class FragileParameters(StageParameters):
    poison: int = -1

class Fragile(Stage[FragileParameters]):
    name, description, port, inputs, output = "fragile", "dies", 9121, ("given",), "fragile"
    Parameters = FragileParameters

    def process(self, batch):
        time.sleep(0.02)
        if any(found.header.index == self.parameters.poison for found, in batch):
            os._exit(9)
        return [found for found, in batch]

    def empty(self, inputs):
        return Detections.empty(inputs[0].header)
'''


@pytest.fixture
def fleet(broker: Any, tmp_path: Path) -> Iterator[Fleet]:
    """One service, of a stage that is installed beside ours."""
    info = tmp_path / "fragile-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[posetask.stages]\nfragile = fragile:Fragile\n")
    (tmp_path / "fragile.py").write_text(STAGE)
    environment = {"POSETASK_KAFKA": broker.bootstrap, "PYTHONPATH": str(tmp_path)}
    said: list[str] = []
    made = Fleet(
        [Member("fragile", "127.0.0.1:0")],
        tmp_path / "state",
        environment,
        lambda name, line: said.append(line),
        grace_seconds=5,
    )
    ready = threading.Event()
    thread = threading.Thread(target=made.run, args=(lambda directory: ready.set(),))
    thread.start()
    assert ready.wait(120), said
    yield made
    print("\n".join(said))  # pytest shows it where the test fails
    made.leave()
    thread.join(60)
    assert not thread.is_alive()


def feed(settings: KafkaSettings, run: str) -> None:
    bus = KafkaBus(settings, run)
    writer = bus.writer("given")
    box, score = np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32)
    for i in range(FRAMES):
        writer.put(Detections(FrameHeader(i, i, Fraction(1, 25), 64, 48, run=run), box, score))
    writer.put(EndOfStream(FRAMES, DecodeReport(frames_decoded=FRAMES)))
    writer.flush()
    bus.close()


def people_in(settings: KafkaSettings, run: str) -> tuple[dict[int, int], int]:
    """People by frame, and how many frames were given up."""
    bus = KafkaBus(settings, run)
    try:
        reader, people = bus.reader("fragile", "test"), {}
        while not isinstance(record := reader.get(60), EndOfStream):
            assert isinstance(record, Detections)
            people[record.header.index] = len(record)
        return people, reader.quarantined
    finally:
        bus.close()


@pytest.mark.parametrize("guilty", ["first", "second"])
def test_the_guilty_task_loses_its_frame_and_the_other_none(
    guilty: str, fleet: Fleet, broker: Any, run: str
) -> None:
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    runs = {"first": f"{run}-1", "second": f"{run}-2"}
    process = fleet.processes["fragile"]
    try:
        with ServiceClient(fleet.directory) as client:
            client.wait_until_ready(60)
            for name, one in runs.items():
                poison = POISON if name == guilty else -1
                client.start("fragile", {"task_id": one, "parameters": {"poison": poison}})
            threads = [threading.Thread(target=feed, args=(settings, one)) for one in runs.values()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            deadline = time.monotonic() + 150
            found: list[str] = []
            while found != ["completed", "completed"]:
                assert time.monotonic() < deadline, found
                time.sleep(0.3)
                with suppress(Unavailable):  # it has died again, and comes back
                    found = [task.status for task in client.tasks()]
        assert process.starts in (3, 4), "it died in company, alone, and perhaps alone again"
        for name, one in runs.items():
            people, quarantined = people_in(settings, one)
            lost = {POISON} if name == guilty else set()
            assert people == {i: int(i not in lost) for i in range(FRAMES)}
            assert quarantined == len(lost)
    finally:
        topics = [f"{topic}_{one}" for topic in ("given", "fragile") for one in runs.values()]
        TopicAdmin(settings).delete(topics)
