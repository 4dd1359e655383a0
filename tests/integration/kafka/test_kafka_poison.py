"""A frame that kills its process, over a real broker: found, given up, counted, and all others are worked."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from posetask.messages import DecodeReport, Detections, EndOfStream, FrameHeader
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, result_config

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]

FRAMES, POISON = 20, 7
LIFE = """
import os, sys
from posetask.messages import Detections
from posetask.runtime.runner import StageRunner
from posetask.stages import Batching, Stage, StageContext, StageParameters
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.settings import KafkaSettings

class Fragile(Stage[StageParameters]):
    name, description, port, inputs, output = "fragile", "dies", 9120, ("given",), "fragile"
    Parameters, concurrent, batching = StageParameters, True, Batching(4, 0.05)

    def process(self, batch):
        if any(found.header.index == int(sys.argv[3]) for found, in batch):
            os._exit(9)
        return [found for found, in batch]

    def empty(self, inputs):
        return Detections.empty(inputs[0].header)

bus = KafkaBus(KafkaSettings(bootstrap=sys.argv[1]), sys.argv[2])
runner = StageRunner.on(bus, Fragile(StageParameters(), StageContext(sys.argv[2])))
runner.run()
bus.close()
print(runner.progress.quarantined)
"""


def somebody(index: int, run: str) -> Detections:
    header = FrameHeader(index, index, Fraction(1, 25), 64, 48, run=run)
    return Detections(header, np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32))


def test_a_frame_that_kills_its_process_is_given_up_and_counted(broker: Any, run: str) -> None:
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    admin, topics = TopicAdmin(settings), [f"given_{run}", f"fragile_{run}"]
    admin.create([TopicSpec(name, 1, result_config(keep_seconds=600)) for name in topics])
    bus = KafkaBus(settings, run)
    try:
        writer = bus.writer("given")
        for i in range(FRAMES):
            writer.put(somebody(i, run))
        writer.put(EndOfStream(FRAMES, DecodeReport(frames_decoded=FRAMES)))
        writer.flush()
        codes, printed = [], ""
        while len(codes) < 6 and 0 not in codes:
            done = subprocess.run(
                [sys.executable, "-c", LIFE, settings.bootstrap, run, str(POISON)],
                capture_output=True,
                text=True,
            )
            assert done.stderr == ""
            codes.append(done.returncode)
            printed = done.stdout
        assert codes in ([9, 9, 9, 0], [9, 9, 0]), "in a batch, alone, alone again; then it is given up"
        assert printed == "1\n"
        reader = bus.reader("fragile", "test")
        people = {}
        while not isinstance(record := reader.get(20), EndOfStream):
            assert isinstance(record, Detections)
            people[record.header.index] = len(record)
        assert record.frames == FRAMES
        assert people == {i: int(i != POISON) for i in range(FRAMES)}
        assert reader.quarantined == 1
    finally:
        bus.close()
        admin.delete(topics)
