"""Five stages over a real broker, each with a bus of its own as in its own process, driven by the runner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest

from posetask.messages import (
    DecodeReport,
    Detections,
    EndOfStream,
    Frame,
    FrameHeader,
    Message,
    Poses,
    Tracks,
)
from posetask.runtime.runner import StageRunner
from posetask.stages.base import Batching, Source, Stage, StageContext, StageParameters
from posetask.transport import Window
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config

pytestmark = pytest.mark.kafka
FRAMES = 60
GROUPS = ("kboxes", "kposes", "kpicture")


class KSource(Source[StageParameters]):
    name, description, port, output = "ksource", "numbered grey pictures", 9101, "kraw"
    Parameters: ClassVar[type[StageParameters]] = StageParameters

    def produce(self) -> Iterator[Frame]:
        for i in range(FRAMES):
            header = FrameHeader(i, i * 512, Fraction(1, 12800), 64, 48, 512, 25.0, run=self.context.run)
            yield Frame(header, np.full((48, 64, 3), 4 * i, np.uint8))

    @property
    def report(self) -> DecodeReport:
        return DecodeReport(frames_decoded=FRAMES)


class KBoxes(Stage[StageParameters]):
    name, description, port, inputs, output = "kboxes", "a box of the mean", 9102, ("kraw",), "kboxes"
    Parameters: ClassVar[type[StageParameters]] = StageParameters
    concurrent = True

    @property
    def batching(self) -> Batching:
        return Batching(size=4, wait_seconds=0.01, workers=2)

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        return [
            Detections(f.header, np.full((1, 4), f.image.mean(), np.float32), np.ones(1, np.float32))
            for (f,) in batch
        ]


class KPoses(Stage[StageParameters]):
    name, description, port, inputs, output = "kposes", "no keypoints", 9103, ("kraw", "kboxes"), "kposes"
    Parameters: ClassVar[type[StageParameters]] = StageParameters

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        return [Poses.without_keypoints(boxes) for _, boxes in batch]


class KTracks(Stage[StageParameters]):
    """Holds three frames back, as interpolation does."""

    name, description, port, inputs, output = "ktracks", "one person", 9104, ("kposes",), "ktracks"
    Parameters: ClassVar[type[StageParameters]] = StageParameters

    def open(self) -> None:
        self.held: list[Poses] = []

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        self.held += [poses for (poses,) in batch]
        ready, self.held = self.held[:-3], self.held[-3:]
        return [self._track(poses) for poses in ready]

    def finish(self, end: EndOfStream) -> Sequence[Message]:
        return [self._track(poses) for poses in self.held]

    def _track(self, p: Poses) -> Tracks:
        one = np.ones(1, np.int32)
        return Tracks(p.header, one, p.xyxy, p.scores, 0 * one, p.keypoints, p.keypoint_scores)


class KPicture(Stage[StageParameters]):
    name, description, port, inputs, output = "kpicture", "remembers", 9105, ("kraw", "ktracks"), None
    Parameters: ClassVar[type[StageParameters]] = StageParameters

    def open(self) -> None:
        self.seen: list[tuple[int, int, float]] = []
        self.end: EndOfStream | None = None

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        for f, tracks in batch:
            self.seen.append((f.header.index, tracks.header.index, float(tracks.xyxy[0, 0] - f.image.mean())))
        return ()

    def finish(self, end: EndOfStream) -> Sequence[Message]:
        self.end = end
        return ()


@pytest.fixture
def start(broker: Any, run: str) -> Iterator[Callable[[int], list[Stage[Any]]]]:
    """Runs the five stages to their end, and gives them."""
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    admin = TopicAdmin(settings)
    buses: list[KafkaBus] = []
    names = [topic_name(topic, run) for topic in ("kraw", "kboxes", "kposes", "ktracks")]

    def go(partitions: int) -> list[Stage[Any]]:
        config = [raw_config(), *3 * [result_config(keep_seconds=600)]]
        admin.create(
            [TopicSpec(n, p, c) for n, p, c in zip(names, [*3 * [partitions], 1], config, strict=True)]
        )
        stages = [
            cls(StageParameters(), StageContext(run=run))
            for cls in (KSource, KBoxes, KPoses, KTracks, KPicture)
        ]
        failures: list[BaseException] = []

        def work(stage: Stage[Any]) -> None:
            try:
                bus = KafkaBus(settings, run, windows={"kraw": GROUPS}, window=Window(records=16, at_least=8))
                buses.append(bus)
                StageRunner.on(bus, stage).run()
            except BaseException as error:
                failures.append(error)
                for bus in buses:
                    bus.cancel(error)

        threads = [threading.Thread(target=work, args=(stage,)) for stage in stages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
            assert not thread.is_alive()
        assert not failures, failures
        return stages

    yield go
    for bus in buses:
        bus.close()
    admin.delete(names)


@pytest.mark.parametrize("partitions", [1, 3])
def test_five_stages_over_kafka_see_every_frame_once_in_order(
    start: Callable[[int], list[Stage[Any]]], settings_look: Callable[[str], dict[str, int]], partitions: int
) -> None:
    stages = start(partitions)
    picture: Any = stages[-1]
    assert [(a, b) for a, b, _ in picture.seen] == [(i, i) for i in range(FRAMES)]
    assert all(abs(difference) < 1e-3 for _, _, difference in picture.seen)
    assert picture.end == EndOfStream(FRAMES, DecodeReport(frames_decoded=FRAMES))
    records = settings_look(stages[0].context.run)
    assert records == {
        "kraw": FRAMES + partitions,
        "kboxes": FRAMES + partitions,
        "kposes": FRAMES + partitions,
        "ktracks": FRAMES + 1,
    }


@pytest.fixture
def settings_look(broker: Any) -> Callable[[str], dict[str, int]]:
    """Counts the records ever written to each topic of a run."""
    from confluent_kafka import Consumer, TopicPartition

    def look(run: str) -> dict[str, int]:
        settings = KafkaSettings(bootstrap=broker.bootstrap)
        consumer = Consumer(settings.consumer("look"))
        counts = {}
        for topic, found in consumer.list_topics(timeout=10).topics.items():
            if topic.endswith(run):
                ends = [
                    consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in found.partitions
                ]
                counts[topic.removesuffix(f"_{run}")] = sum(ends)
        consumer.close()
        return counts

    return look
