"""Retention as a fail-safe: a slow reader loses nothing and bounds the disk; a suspended task sends again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from posetask.media.inputs import resolve
from posetask.messages import DecodeReport, EndOfStream, Frame, FrameHeader
from posetask.runtime.distributed import DistributedRun
from posetask.runtime.options import RunOptions
from posetask.runtime.reports import StageReport
from posetask.runtime.stagespec import StageProcessSpec
from posetask.transport import Window
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.progress import ProgressReader, make_progress_topic
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config
from posetask.transport.kafka.window import Footprint

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(500)]
MIB = 2**20
NAMES = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    if broker.folder is None:
        pytest.skip("the broker's disk is not ours to look at (POSETASK_KAFKA is set)")
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture
def admin(settings: KafkaSettings) -> TopicAdmin:
    return TopicAdmin(settings)


def bounds(settings: KafkaSettings, topic: str) -> tuple[int, int]:
    consumer = Consumer(settings.consumer("look"))
    with closing(consumer):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 20)
    return low, high


def wait_until(reached: Callable[[], bool], what: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def set_retention(admin: TopicAdmin, topic: str, milliseconds: int) -> None:
    entry = ConfigEntry("retention.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.client.incremental_alter_configs([resource]).values():
        future.result(30)


def force_retention(admin: TopicAdmin, settings: KafkaSettings, topic: str) -> None:
    """All that is on the topic expires."""
    low, high = bounds(settings, topic)
    assert high > low
    set_retention(admin, topic, 100)
    wait_until(lambda: bounds(settings, topic)[0] >= high, "retention")
    set_retention(admin, topic, 600_000)


class TestFootprint:
    """The bus alone, with large frames."""

    SEGMENT, WINDOW = MIB, 4 * MIB
    FRAMES, PAUSE = 1500, 0.02

    @pytest.fixture
    def topic(self, admin: TopicAdmin, run: str) -> Iterator[str]:
        name = topic_name("raw_frames", run)
        admin.create([TopicSpec(name, 1, raw_config(segment_bytes=self.SEGMENT))])
        yield name
        admin.delete([name])

    def test_a_reader_slower_than_the_old_retention_loses_nothing_within_the_bound(
        self, settings: KafkaSettings, admin: TopicAdmin, broker: Any, topic: str, run: str
    ) -> None:
        window = Window(records=10_000, nbytes=self.WINDOW, at_least=4)
        bus = KafkaBus(settings, run, windows={"raw_frames": ("annotator",)}, window=window)
        other = KafkaBus(settings, run, windows={"raw_frames": ("annotator",)})
        with closing(bus), closing(other):
            reader: Any = other.reader("raw_frames", "annotator")
            writer: Any = bus.writer("raw_frames")
            failures: list[BaseException] = []
            begin = time.monotonic()
            source = threading.Thread(target=self._produce, args=(writer, run, failures))
            most = [0]
            done = threading.Event()
            looker = threading.Thread(target=self._look, args=(broker.folder / "data", topic, most, done))
            source.start()
            looker.start()
            try:
                got = [reader.get(60).header.index for _ in range(40)]
                reader.commit(19)  # it is at work on the rest, and stands still for a while
                self._outlast_the_old_retention(settings, admin, topic)
                assert bounds(settings, topic)[0] <= 20, "what it may still need is there"
                reader.commit(got[-1])
                while not isinstance(record := reader.get(60), EndOfStream):
                    assert record is not None
                    got.append(record.header.index)
                    reader.commit(record.header.index)
                source.join(60)
            finally:
                done.set()
                bus.cancel()
                source.join(60)
                looker.join(60)
            assert failures == []
            assert got == list(range(self.FRAMES))
            rate = writer.nbytes / (time.monotonic() - begin - writer._gate.waited_seconds)
            at_most = writer.nbytes / self.FRAMES / self.PAUSE
            assert rate <= at_most
        largest = 2 * writer.nbytes // self.FRAMES
        bound = Footprint(
            self.WINDOW,
            at_most,
            segment_bytes=self.SEGMENT,
            check_seconds=5.0,  # of the broker that scripts/kafka starts
            largest_record=largest,
        ).bound
        assert self.WINDOW < most[0] <= bound < writer.nbytes / 2, (most[0], bound, writer.nbytes)

    def _produce(self, writer: Any, run: str, failures: list[BaseException]) -> None:
        noise = np.random.default_rng(1).integers(0, 255, (256, 448, 3), np.uint8)
        try:
            for i in range(self.FRAMES):
                header = FrameHeader(i, i * 512, Fraction(1, 12800), 448, 256, 512, 25.0, run=run)
                writer.put(Frame(header, noise))
                time.sleep(self.PAUSE)
            writer.put(EndOfStream(self.FRAMES, DecodeReport(frames_decoded=self.FRAMES)))
            writer.flush()
        except BaseException as error:
            failures.append(error)

    def _outlast_the_old_retention(self, settings: KafkaSettings, admin: TopicAdmin, topic: str) -> None:
        """Wait until a topic whose flow control is its retention (5 s) has lost what nobody read."""
        old = topic.replace("raw_frames", "old_frames")
        admin.create([TopicSpec(old, 1, {**raw_config(), "retention.ms": "5000"})])
        producer = Producer({"bootstrap.servers": settings.bootstrap})
        for _ in range(20):
            producer.produce(old, value=b"x" * 1000, partition=0)
        assert producer.flush(20) == 0
        wait_until(lambda: bounds(settings, old) == (20, 20), "the old retention")
        admin.delete([old])

    def _look(self, data: Path, topic: str, most: list[int], done: threading.Event) -> None:
        """What the topic's files take on the disk, those included that are on their way out."""
        while not done.wait(0.05):
            total = 0
            for folder in data.glob(f"{topic}-*"):
                for file in folder.glob("*"):
                    try:
                        total += file.stat().st_blocks * 512
                    except OSError:
                        continue
            most[0] = max(most[0], total)


Models = tuple[Path, Path]


@pytest.fixture
def peace(long_clip: Path, tiny_models: Models, tmp_path: Path) -> Callable[[Path], str]:
    """The data of a run over the memory bus, with the same codec."""
    from posetask.runtime.embedded import EmbeddedRun

    def embedded(clip: Path) -> str:
        folder = tmp_path / "peace"
        folder.mkdir(exist_ok=True)
        options = _options(tiny_models, wire_codec="jpeg:90", video=False)
        run = EmbeddedRun(resolve(clip)[0], folder / "out.mp4", options)
        run.start()
        run.wait()
        return (folder / "out.jsonl").read_text()

    return embedded


def _options(models: Models, **more: Any) -> RunOptions:
    given = {"detector": str(models[0]), "pose": str(models[1]), "formats": ("jsonl",)}
    return RunOptions.parse({**given, **more})


def pictures_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_frames_that_expire_under_a_stopped_annotator_are_sent_again(
    settings: KafkaSettings,
    admin: TopicAdmin,
    long_clip: Path,
    tiny_models: Models,
    peace: Callable[[Path], str],
    tmp_path: Path,
) -> None:
    run = DistributedRun(resolve(long_clip)[0], tmp_path / "out.mp4", _options(tiny_models), settings)
    run.start()
    while run.annotated[0] < 20:
        assert run.wait(0.05) is None
    stopped = run.children["annotator"]
    stopped.send(signal.SIGSTOP)
    try:
        force_retention(admin, settings, topic_name("raw_frames", run.run))
        low, _ = bounds(settings, topic_name("raw_frames", run.run))
        assert low > 0
    finally:
        stopped.send(signal.SIGCONT)
    summary = run.wait()
    assert summary is not None
    assert (summary.frames_decoded, summary.frames_annotated) == (600, 600)
    assert {child.starts for child in run.children.values()} == {1}, "nobody had to be started anew"
    assert (tmp_path / "out.jsonl").read_text() == peace(long_clip)
    assert pictures_of(tmp_path / "out.mp4") == 600


@pytest.mark.parametrize("when", ["in the middle", "after the end was sent"])
def test_a_suspended_task_whose_frames_all_expired_completes(
    when: str,
    settings: KafkaSettings,
    admin: TopicAdmin,
    long_clip: Path,
    red_clip: Path,
    tiny_models: Models,
    peace: Callable[[Path], str],
    run: str,
    tmp_path: Path,
) -> None:
    """As the operator does it: every process leaves on SIGTERM, and is started again much later."""
    clip, frames = (long_clip, 600) if when == "in the middle" else (red_clip, 40)
    raw, *results = (topic_name(name, run) for name in ("raw_frames", "yolox", "rtmpose", "bytetrack"))
    files = {"source": str(clip), "output": tmp_path / "out.mp4", "formats": ("jsonl",)}
    models = {"yolox": {"model": str(tiny_models[0])}, "rtmpose": {"model": str(tiny_models[1])}}
    for name in NAMES:
        spec = StageProcessSpec(run=run, stage=name, parameters=models.get(name, {}), **files)
        (tmp_path / f"{name}.json").write_text(spec.model_dump_json(exclude_defaults=True))
    running: dict[str, subprocess.Popen[bytes]] = {}

    def start(names: Sequence[str]) -> None:
        for name in names:
            command = [sys.executable, "-m", "posetask", "stage", name, "--listen", "127.0.0.1:0"]
            environment = {**os.environ, "POSETASK_KAFKA": settings.bootstrap}
            with (tmp_path / f"{name}.log").open("ab") as log:
                running[name] = subprocess.Popen(
                    [*command, "--spec", str(tmp_path / f"{name}.json")], env=environment, stderr=log
                )

    make_progress_topic(admin)
    admin.create([TopicSpec(raw, 1, raw_config())])
    admin.create([TopicSpec(name, 1, result_config(keep_seconds=600)) for name in results])
    words = ProgressReader(settings, run)
    reports: dict[str, StageReport] = {}

    def frames_of(stage: str) -> int:
        for word in words.poll(0.1):
            reports[word.stage] = StageReport.model_validate_json(word.value or b"{}")
        return reports[stage].frames if stage in reports else 0

    def suspend() -> dict[str, int]:
        for process in running.values():
            process.terminate()
        return {name: process.wait(60) for name, process in running.items()}

    try:
        if when == "in the middle":
            start(NAMES)
            wait_until(lambda: frames_of("annotator") >= 20, when)
            assert set(suspend().values()) == {143}
            left: Sequence[str] = NAMES
        else:
            start(NAMES[:4])  # the annotator waits for a place on a node
            wait_until(lambda: all(running[name].poll() == 0 for name in NAMES[1:4]), when)
            assert running["producer"].poll() is None, "the producer stays until all have read"
            assert suspend() == {"producer": 143, "yolox": 0, "rtmpose": 0, "bytetrack": 0}
            left = ("producer", "annotator")
        force_retention(admin, settings, raw)
        start(left)
        wait_until(lambda: all(running[name].poll() is not None for name in left), "the end", 300)
        logs = {name: (tmp_path / f"{name}.log").read_text()[-500:] for name in left}
        assert {name: running[name].returncode for name in left} == dict.fromkeys(left, 0), logs
    finally:
        for process in running.values():
            process.kill()
            process.wait(30)
        words.close()
        admin.delete([raw, *results])
    assert (tmp_path / "out.jsonl").read_text() == peace(clip)
    assert pictures_of(tmp_path / "out.mp4") == frames
