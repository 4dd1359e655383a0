"""Stages whose source and result are in an object store, over a real broker, with a disk that is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from posetask.runtime.reports import StageReport
from posetask.storage.location import Location
from posetask.transport.kafka.progress import ProgressReader, forget, make_progress_topic
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config

pytestmark = [pytest.mark.kube, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

TOPICS = ("raw_frames", "yolox", "rtmpose", "bytetrack")
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(
    broker: Any, object_store: Any, tiny_models: tuple[Path, Path], tmp_path: Path
) -> Iterator[Callable[..., Start]]:
    """``start(run)(stage, disk, **fields)``: a stage's process that has nothing but its environment."""
    running: list[subprocess.Popen[bytes]] = []
    runs: list[str] = []
    admin = TopicAdmin(KafkaSettings(bootstrap=broker.bootstrap))

    def of_run(run: str) -> Start:
        kept = result_config(keep_seconds=600)
        admin.create([TopicSpec(f"{t}_{run}", 1, raw_config() if t == TOPICS[0] else kept) for t in TOPICS])
        runs.append(run)

        def process(stage: str, disk: str, **fields: str) -> subprocess.Popen[bytes]:
            scratch = tmp_path / disk
            scratch.mkdir(exist_ok=True)
            models = {"yolox": tiny_models[0], "rtmpose": tiny_models[1]}
            if stage in models:
                fields["parameters"] = json.dumps({"model": str(models[stage])})
            variables = {f"POSETASK_STAGE_{name.upper()}": value for name, value in fields.items()}
            environment = {**os.environ, **object_store.environment, **variables}
            environment |= {"POSETASK_STAGE_RUN": run, "POSETASK_KAFKA": broker.bootstrap}
            environment |= {"TMPDIR": str(scratch), "POSETASK_TERMINATION_LOG": str(scratch / "last")}
            log = (tmp_path / f"{stage}.log").open("ab")
            made = subprocess.Popen(
                [sys.executable, "-m", "posetask", "stage", stage, "--listen", "127.0.0.1:0"],
                env=environment,
                stdout=log,
                stderr=log,
            )
            log.close()
            running.append(made)
            return made

        return process

    yield of_run
    for process in running:
        process.kill()
        process.wait(10)
    admin.delete([f"{topic}_{run}" for run in runs for topic in TOPICS])


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 frames of 320x180: a red square goes to and fro."""
    import numpy as np

    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv444p"
        for i in range(300):
            image = np.full((180, 320, 3), 90, np.uint8)
            x = round(130 + 120 * np.sin(i / 20))
            image[60:108, x : x + 48] = (0, 0, 255)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(video.encode(None))
    return path


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_an_annotator_on_another_disk_goes_on_from_the_store(
    start: Callable[..., Start], object_store: Any, walk: Path, tmp_path: Path
) -> None:
    (object_store.folder / "videos" / "walk.mp4").write_bytes(walk.read_bytes())
    run = f"s3-{uuid.uuid4().hex[:8]}"
    process = start(run)
    place = object_store.folder / "results" / "lab" / run
    common = {"source": "s3://videos/walk.mp4"}
    writes = {**common, "output": f"s3://results/lab/{run}/demo.mp4", "formats": '["jsonl"]'}
    others = [process("producer", "a", **common)]
    others += [process(name, "a") for name in ("yolox", "rtmpose", "bytetrack")]
    first = process("annotator", "b", **writes)
    deadline = time.monotonic() + 120
    while not (place / "demo.hls" / "segment_00001.m4s").exists():
        assert time.monotonic() < deadline
        assert first.poll() is None, (tmp_path / "annotator.log").read_text()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert not (place / "demo.mp4").exists(), "it had ended before it could be disturbed"
    second = process("annotator", "c", **writes)
    for one in (second, *others):
        assert one.wait(120) == 0, (tmp_path / "annotator.log").read_text()
    assert frames_in(place / "demo.mp4") == 300
    assert len((place / "demo.jsonl").read_text().splitlines()) >= 300
    report = StageReport.model_validate_json((place / "demo.hls" / "result.json").read_text())
    assert report.facts["frames"] == 300
    assert report.facts["output"] == f"s3://results/lab/{run}/demo.mp4"
    assert report.facts["exports"] == {"jsonl": f"s3://results/lab/{run}/demo.jsonl"}
    with object_store.client() as store:
        before = store.stat(Location.parse(f"s3://results/lab/{run}/demo.mp4"))
        third = process("annotator", "d", **writes)  # a pod that is started once too often
        assert third.wait(60) == 0
        assert store.stat(Location.parse(f"s3://results/lab/{run}/demo.mp4")) == before
    other = start(f"s3-{uuid.uuid4().hex[:8]}")("annotator", "e", **writes)
    assert other.wait(60) == 22
    assert json.loads((tmp_path / "e" / "last").read_text())["reason"] == "OutputExists"


def test_a_source_that_is_not_in_the_store_ends_the_stage_for_good(
    start: Callable[..., Start], tmp_path: Path
) -> None:
    process = start(f"s3-{uuid.uuid4().hex[:8]}")("producer", "a", source="s3://videos/none.mp4")
    assert process.wait(60) == 20
    said = json.loads((tmp_path / "a" / "last").read_text())
    assert (said["reason"], said["retryable"]) == ("SourceNotFound", False)
    assert not list((tmp_path / "a").glob("posetask-source-*"))


def test_a_fused_run_publishes_to_the_store_and_tells_the_broker(
    broker: Any, object_store: Any, tmp_path: Path
) -> None:
    run = f"fused-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    make_progress_topic(TopicAdmin(settings))
    words = ProgressReader(settings, run)
    variables = {
        "POSETASK_STAGE_RUN": run,
        "POSETASK_STAGE_SOURCE": "synth:frames=30,size=320x180,people=2",
        "POSETASK_STAGE_OUTPUT": f"s3://results/lab/{run}/demo.mp4",
        "POSETASK_STAGE_FORMATS": '["parquet"]',
        "POSETASK_STAGE_PARAMETERS": '{"yolox": {"model": "demo"}, "rtmpose": {"model": "demo"}}',
        "POSETASK_KAFKA": broker.bootstrap,
        "TMPDIR": str(tmp_path),
    }
    try:
        for _ in range(2):  # a pod that is started once too often finds the work done
            done = subprocess.run(
                [sys.executable, "-m", "posetask", "fused", "--listen", "127.0.0.1:0"],
                env={**os.environ, **object_store.environment, **variables},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
        said = [StageReport.model_validate_json(w.value or b"") for _ in range(3) for w in words.poll(2)]
    finally:
        words.close()
        forget(settings, run, ["producer", "yolox", "rtmpose", "bytetrack", "annotator"])
    last = {report.stage: report for report in said}
    assert sorted(last) == ["annotator", "bytetrack", "producer", "rtmpose", "yolox"]
    assert {(report.state, report.frames) for report in last.values()} == {("done", 30)}
    assert last["annotator"].facts["output"] == variables["POSETASK_STAGE_OUTPUT"]
    place = object_store.folder / "results" / "lab" / run
    assert frames_in(place / "demo.mp4") == 30
    assert (place / "demo.parquet").stat().st_size > 0
