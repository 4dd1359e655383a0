"""`posetask run --kafka` and `posetask stage` on a real broker: the embedded run's files, whatever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from posetask.errors import PoseTaskError, StageFailed
from posetask.media.inputs import resolve
from posetask.runtime.distributed import DistributedRun
from posetask.runtime.options import RunOptions
from posetask.runtime.reports import StageReport
from posetask.transport.kafka.progress import ProgressReader, make_progress_topic
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, result_config

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

Models = tuple[Path, Path]
Same = Callable[[Path, Path], None]


def posetask(*args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "posetask", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def names_of(settings: KafkaSettings, run: str) -> list[str]:
    return [name for name in TopicAdmin(settings).existing() if name.endswith(run)]


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture
def make_run(settings: KafkaSettings, tiny_models: Models) -> Callable[..., DistributedRun]:
    def make(clip: Path, output: Path, **options: Any) -> DistributedRun:
        given = {"detector": str(tiny_models[0]), "pose": str(tiny_models[1]), **options}
        return DistributedRun(resolve(clip)[0], output, RunOptions.parse(given), settings)

    return make


def wait_for_frames(run: DistributedRun, frames: int) -> None:
    while run.annotated[0] < frames:
        assert run.wait(0.05) is None, "it ended before it could be disturbed"


def kill_until_the_end(run: DistributedRun, name: str) -> None:
    while run.wait(0.02) is None:
        run.children[name].kill()


def test_the_command_leaves_the_embedded_runs_files_and_nothing_else(
    red_clip: Path, tiny_models: Models, settings: KafkaSettings, same_people: Same, tmp_path: Path
) -> None:
    weights = ["--detector", tiny_models[0], "--pose", tiny_models[1], "--json"]
    before = set(TopicAdmin(settings).existing())
    for name, more in (("a", ["--wire-codec", "jpeg:90"]), ("b", ["--kafka", settings.bootstrap])):
        done = posetask("run", red_clip, "-o", tmp_path / name / "out.mp4", *weights, *more)
        if name == "a":
            assert done.returncode == 20, "the folder is not there yet"
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            done = posetask("run", red_clip, "-o", tmp_path / name / "out.mp4", *weights, *more)
        assert done.returncode == 0, done.stderr
        (tmp_path / name / "summary.json").write_text(done.stdout)
    a, b = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "ab")
    for key in (
        "frames_declared",
        "frames_decoded",
        "frames_annotated",
        "people",
        "people_per_frame",
        "tracks",
    ):
        assert a[key] == b[key], key
    assert (b["audio"], b["models"], b["warnings"]) == (a["audio"], a["models"], [])
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(
        p.name for p in (tmp_path / "b").iterdir()
    )
    same_people(tmp_path / "a" / "out.parquet", tmp_path / "b" / "out.parquet")
    first, second = pictures(tmp_path / "a" / "out.mp4"), pictures(tmp_path / "b" / "out.mp4")
    assert len(first) == len(second) == 40
    assert all((x == y).all() for x, y in zip(first, second, strict=True))
    left = {name for name in TopicAdmin(settings).existing() if not name.startswith("__")} - before
    assert left <= {"posetask_progress"}


@pytest.mark.parametrize("every_n", [1, 3])
def test_stages_that_are_killed_go_on_and_nothing_shows(
    every_n: int,
    long_clip: Path,
    make_run: Callable[..., DistributedRun],
    tiny_models: Models,
    same_people: Same,
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "a.mp4", tmp_path / "b.mp4"
    options = {"formats": ("parquet", "jsonl"), "every_n": every_n}
    done = posetask(
        *("run", long_clip, "-o", whole, "--detector", tiny_models[0], "--pose", tiny_models[1]),
        *("--wire-codec", "jpeg:90", "--formats", "parquet,jsonl", "--every-n", str(every_n)),
    )
    assert done.returncode == 0, done.stderr
    run = make_run(long_clip, killed, **options)
    run.start()
    for number, name in enumerate(("yolox", "annotator", "bytetrack", "producer", "rtmpose")):
        wait_for_frames(run, 20 + 60 * number)
        assert run.children[name].kill()
    summary = run.wait()
    assert summary is not None
    assert (summary.frames_decoded, summary.frames_annotated) == (600, 600)
    assert sum(child.starts for child in run.children.values()) >= 10
    same_people(whole.with_suffix(".parquet"), killed.with_suffix(".parquet"))
    assert whole.with_suffix(".jsonl").read_text() == killed.with_suffix(".jsonl").read_text()
    assert len(pictures(killed)) == 600
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{n}{s}" for n in "ab" for s in (".mp4", ".parquet", ".jsonl")
    }


def test_ending_early_leaves_a_valid_shorter_result(
    long_clip: Path, make_run: Callable[..., DistributedRun], settings: KafkaSettings, tmp_path: Path
) -> None:
    run = make_run(long_clip, tmp_path / "out.mp4", formats=("jsonl",))
    run.start()
    wait_for_frames(run, 10)
    run.stop()
    summary = run.wait()
    assert summary is not None
    assert summary.interrupted
    assert 10 <= summary.frames_annotated == summary.frames_decoded < 600
    assert len(pictures(tmp_path / "out.mp4")) == summary.frames_annotated
    assert names_of(settings, run.run) == []


def test_what_a_stage_cannot_mend_ends_the_run_with_its_error(
    long_clip: Path, make_run: Callable[..., DistributedRun], settings: KafkaSettings, tmp_path: Path
) -> None:
    run = make_run(long_clip, tmp_path / "out.mp4", formats=("jsonl",))
    run.start()
    wait_for_frames(run, 10)
    TopicAdmin(settings).delete([f"yolox_{run.run}"])
    with pytest.raises(PoseTaskError) as caught:
        run.wait()
    assert caught.value.reason == "TopicLost"
    assert list(tmp_path.iterdir()) == []
    assert names_of(settings, run.run) == []


def test_a_stage_that_dies_again_and_again_ends_the_run(
    red_clip: Path, make_run: Callable[..., DistributedRun], tmp_path: Path
) -> None:
    run = make_run(red_clip, tmp_path / "out.mp4")
    run.start()
    with pytest.raises(StageFailed, match="stage bytetrack died of signal 9 6 times in a row at frame 0"):
        kill_until_the_end(run, "bytetrack")
    assert list(tmp_path.iterdir()) == []


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def free_address() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_one_stage_serves_its_pages_and_leaves_in_good_order(
    settings: KafkaSettings, run: str, tmp_path: Path
) -> None:
    admin = TopicAdmin(settings)
    topics = [f"rtmpose_{run}", f"bytetrack_{run}"]
    make_progress_topic(admin)
    admin.create([TopicSpec(name, 1, result_config(keep_seconds=600)) for name in topics])
    address = free_address()
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"run: {run}\nparameters: {{track_buffer: 20}}\n")
    words = ProgressReader(settings, run)
    process = subprocess.Popen(
        [sys.executable, "-m", "posetask", "stage", "bytetrack", "--spec", str(spec), "--listen", address],
        env={**os.environ, "POSETASK_KAFKA": settings.bootstrap, "POSETASK_STAGE_GRACE_SECONDS": "5"},
    )
    try:
        deadline, status = time.monotonic() + 60, 0
        while status != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                status, _ = get(address, "/readyz")
            except OSError:
                assert process.poll() is None
        assert get(address, "/healthz") == (200, "running\n") or get(address, "/healthz")[0] == 200
        report = StageReport.model_validate_json(get(address, "/status")[1])
        assert (report.run, report.stage, report.frames, report.error) == (run, "bytetrack", 0, None)
        metrics = get(address, "/metrics")[1]
        for line in (
            "posetask_stage_frames_total 0.0",
            "posetask_stage_ready 1.0",
            'posetask_stage_lag_records{topic="rtmpose"} 0.0',
            'posetask_stage_info{stage="bytetrack"',
            "posetask_stage_batch_frames_count 0.0",
            "process_resident_memory_bytes",
        ):
            assert line in metrics
        assert run not in metrics, "no label names the task"
        assert get(address, "/else")[0] == 404
        process.terminate()
        assert process.wait(30) == 143
        said = [StageReport.model_validate_json(word.value or b"") for word in words.poll(5)]
        assert said[-1].state == "stopped"
    finally:
        process.kill()
        words.close()
        admin.delete(topics)


@pytest.mark.parametrize(
    ("environment", "code", "reason"),
    [
        ({"POSETASK_STAGE_RUN": "never-made"}, 26, "TopicLost"),
        ({}, 20, "InvalidParameters"),
        ({"POSETASK_STAGE_RUN": "x", "POSETASK_STAGE_PARAMETERS": '{"x": 1}'}, 20, "InvalidParameters"),
        ({"POSETASK_STAGE_RUN": "x", "POSETASK_KAFKA": "127.0.0.1:1"}, 30, "KafkaUnavailable"),
    ],
    ids=["no topics", "no run", "a bad parameter", "no broker"],
)
def test_a_stage_that_cannot_work_says_why_in_one_line(
    environment: dict[str, str], code: int, reason: str, settings: KafkaSettings, tmp_path: Path
) -> None:
    last = tmp_path / "last"
    base = {"POSETASK_KAFKA": settings.bootstrap, "POSETASK_TERMINATION_LOG": str(last)}
    limit = {"POSETASK_KAFKA_CONNECT_TIMEOUT_MS": "1000"}
    done = posetask("stage", "bytetrack", "--listen", "127.0.0.1:0", **{**base, **limit, **environment})
    said = json.loads(last.read_text())
    assert (done.returncode, said["reason"], said["exit_code"]) == (code, reason, code), done.stderr
    assert said["retryable"] == (code == 30)
    assert last.read_text().count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.real_data
@pytest.mark.parametrize(
    "clip",
    [
        "store-aisle-detection_480x270.mp4",
        "mmpose_demo.mp4",
        pytest.param("one-by-one-person-detection.mp4", marks=pytest.mark.timeout(900)),  # 1394 frames
    ],
)
def test_real_people_are_the_same_over_kafka(
    clip: str, shared_data: Path, settings: KafkaSettings, same_people: Same, tmp_path: Path
) -> None:
    models = shared_data / "models"
    weights = [
        *("--detector", models / "yolox_nano.onnx", "--pose", models / "tinypose_256x192_simcc.onnx"),
        *("--formats", "parquet", "--json"),
    ]
    summaries = []
    for name, more in (("a", ["--wire-codec", "jpeg:90"]), ("b", ["--kafka", settings.bootstrap])):
        done = posetask("run", shared_data / "videos" / clip, "-o", tmp_path / f"{name}.mp4", *weights, *more)
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    same_people(tmp_path / "a.parquet", tmp_path / "b.parquet")
    for key in ("frames_decoded", "frames_annotated", "people", "people_per_frame", "tracks", "models"):
        assert summaries[0][key] == summaries[1][key], key
