"""``posetask stage NAME`` with null inference and a source that keeps time; notes how long records took.

Started by ``kafka.py`` in place of ``python -m posetask``, with a folder and the frames a second in front.
The product knows nothing of this: its functions are wrapped here, from outside.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posetask.cli.main import main
from posetask.messages import Detections, Frame, Poses
from posetask.stages.base import Batching
from posetask.transport.kafka.reader import KafkaReader


def note_arrivals(notes: list[tuple[str, int, float]]) -> None:
    """From the produce call, by the record's own time in whole milliseconds, to the reader's queue."""
    take_in = KafkaReader._take_in

    def wrapped(reader: KafkaReader, message: Any) -> None:
        now = time.time() * 1000
        key = message.key() or b""
        if message.error() is None and key.isdigit():
            notes.append((message.topic(), int(key), now - message.timestamp()[1]))
        take_in(reader, message)

    KafkaReader._take_in = wrapped  # type: ignore[method-assign]


def keep_time(rate: float) -> None:
    """Let the producer give ``rate`` frames a second."""
    from posetask.stages.producer import ProducerStage

    produce = ProducerStage.produce

    def paced(stage: ProducerStage) -> Iterator[Frame]:
        begin = time.monotonic()
        for frame in produce(stage):
            time.sleep(max(0.0, begin + frame.header.index / rate - time.monotonic()))
            yield frame

    ProducerStage.produce = paced  # type: ignore[method-assign]


def infer_nothing() -> None:
    """One person in the middle, found in no time; no model is loaded."""
    from posetask.stages.rtmpose import RtmposeStage
    from posetask.stages.yolox import YoloxStage

    def detect(stage: YoloxStage, batch: Sequence[tuple[Frame]]) -> list[Detections]:
        return [Detections(f.header, _box(f), np.full(1, 0.9, np.float32)) for (f,) in batch]

    def estimate(stage: RtmposeStage, batch: Sequence[tuple[Frame, Detections]]) -> list[Poses]:
        return [Poses.without_keypoints(found) for _, found in batch]

    for stage, process in ((YoloxStage, detect), (RtmposeStage, estimate)):
        stage.open = lambda self: None  # type: ignore[method-assign]
        stage.batching = Batching()  # type: ignore[method-assign,assignment]
        stage.process = process  # type: ignore[method-assign,assignment]


def _box(frame: Frame) -> np.ndarray:
    w, h = frame.header.width, frame.header.height
    return np.array([[0.4 * w, 0.2 * h, 0.6 * w, 0.8 * h]], np.float32)


if __name__ == "__main__":
    folder, rate, stage = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[4]
    del sys.argv[1:3]
    arrivals: list[tuple[str, int, float]] = []
    note_arrivals(arrivals)
    if stage == "producer":
        keep_time(rate)
    if stage in {"yolox", "rtmpose"}:
        infer_nothing()
    try:
        main()
    finally:
        (folder / f"{stage}.{os.getpid()}.json").write_text(json.dumps([stage, arrivals]))
