"""What a record costs on its way from one stage to the next, step by step, in CPU time of this process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from posetask.media.decode import VideoReader
from posetask.media.jpeg import WireCodec
from posetask.messages import Detections, Frame, FrameHeader, Image, Poses, Tracks
from posetask.messages.wire import decode, encode
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config

PEOPLE = 9


class Canned:
    """A codec that costs nothing, so that what is left is the transport's own."""

    def __init__(self, jpeg: bytes, image: Image) -> None:
        self._jpeg, self._image = jpeg, image

    def encode(self, image: Image, *, max_bytes: int) -> bytes:
        """The one JPEG."""
        return self._jpeg

    def decode(self, data: bytes) -> Image:
        """The one picture."""
        return self._image.copy()


def each(function: Callable[[], object], times: int) -> float:
    """CPU milliseconds of one call, all threads of this process together."""
    function()
    begin = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - begin) / times * 1000


def hop_costs(settings: KafkaSettings, clip: Path, times: int = 200) -> dict[str, float]:
    """Milliseconds of CPU a frame: of one hop of a picture, and of the three hops of results.

    Args:
        settings: Of the broker, whose own work is not in here.
        clip: Its first frame is sent again and again.
        times: So often.
    """
    with VideoReader(clip) as reader:
        image = next(iter(reader)).image
    height, width = image.shape[:2]
    codec = WireCodec()
    jpeg = codec.encode(image)
    run = f"hop-{uuid.uuid4().hex[:8]}"
    frames = [Frame(FrameHeader(i, i, Fraction(1, 25), width, height, run=run), image) for i in range(times)]
    produce, consume = _transport(settings, run, frames, Canned(jpeg, image))
    spare = each(lambda: image.copy(), times)  # the canned decoder's
    results = _results(frames[0].header)
    wires = [encode(result, run=run) for result in results]
    return {
        "jpeg_kib": round(len(jpeg) / 1024, 1),
        "encode": round(each(lambda: codec.encode(image), times), 3),
        "produce": round(produce, 3),
        "consume": round(consume - spare, 3),
        "decode": round(each(lambda: codec.decode(jpeg), times), 3),
        "protobuf": round(
            each(lambda: [encode(result, run=run) for result in results], times)
            + each(lambda: [decode(wire.key, wire.value, wire.headers) for wire in wires], times),
            3,
        ),
    }


def _transport(settings: KafkaSettings, run: str, frames: list[Frame], codec: Canned) -> tuple[float, float]:
    admin = TopicAdmin(settings)
    admin.create([TopicSpec(topic_name("raw_frames", run), 1, raw_config())])
    try:
        bus = KafkaBus(settings, run, codec=codec)
        writer = bus.writer("raw_frames")
        begin = time.process_time()
        for frame in frames:
            writer.put(frame)
        writer.flush()
        produced = time.process_time() - begin
        bus.close()
        bus = KafkaBus(settings, run, codec=codec)
        begin = time.process_time()
        reader = bus.reader("raw_frames", "yolox")
        for frame in frames:
            reader.get()
            reader.commit(frame.header.index)
        consumed = time.process_time() - begin
        bus.close()
    finally:
        admin.delete([topic_name("raw_frames", run)])
    return produced / len(frames) * 1000, consumed / len(frames) * 1000


def _results(header: FrameHeader) -> tuple[Detections, Poses, Tracks]:
    boxes, scores = np.ones((PEOPLE, 4), np.float32), np.ones(PEOPLE, np.float32)
    points, sure = np.ones((PEOPLE, 17, 2), np.float32), np.ones((PEOPLE, 17), np.float32)
    ids = np.arange(PEOPLE, dtype=np.int32)
    return (
        Detections(header, boxes, scores),
        Poses(header, boxes, scores, points, sure),
        Tracks(header, ids, boxes, scores, ids, points, sure),
    )
