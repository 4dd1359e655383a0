"""Resident services on a real broker: many tasks at once, stopped, resumed, killed; nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from posetask.errors import NotAvailable, TaskConflict, UnknownTask
from posetask.runtime.options import RunOptions
from posetask.runtime.service.client import ServiceClient
from posetask.runtime.service.fleet import Fleet, Member
from posetask.runtime.service.submission import Submission, look, resume
from posetask.runtime.sources import resolve
from posetask.synth.framecode import read_frame_number
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

STAGES = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
PATIENCE = 180.0

Submit = Callable[..., Submission]


@pytest.fixture(scope="module")
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture(scope="module")
def fleet(settings: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The five services, on free ports, with the demo models."""
    model = dict.fromkeys(("yolox", "rtmpose"), ("--parameter", "model=demo"))
    members = [Member(name, "127.0.0.1:0", arguments=model.get(name, ())) for name in STAGES]
    lines: list[str] = []
    made = Fleet(
        members,
        tmp_path_factory.mktemp("services"),
        {"POSETASK_KAFKA": settings.bootstrap},
        lambda name, line: lines.append(f"{name} | {line}"),
        grace_seconds=10,
    )
    ready, failure = threading.Event(), []

    def run() -> None:
        try:
            made.run(lambda directory: ready.set())
        except BaseException as error:
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE), "\n".join(lines[-40:])
    assert not failure, failure
    yield made
    made.leave()
    thread.join(60)
    assert not thread.is_alive()
    assert not failure, failure
    assert not any(process.pid for process in made.processes.values())


@pytest.fixture
def client(fleet: Fleet) -> Iterator[ServiceClient]:
    with ServiceClient({name: fleet.directory[name] for name in STAGES}) as made:
        made.wait_until_ready(PATIENCE)
        yield made


@pytest.fixture
def submit(client: ServiceClient) -> Submit:
    def start(world: str, output: Path) -> Submission:
        options = RunOptions.parse({"formats": ("jsonl",)})
        task = Submission(client, resolve(world)[0], output, options)
        task.start()
        return task

    return start


def world(seed: int, frames: int) -> str:
    return f"synth:seed={seed},people=2,frames={frames},size=320x180,number-code"


def in_peace(source: str, output: Path) -> None:
    """The same by the embedded run."""
    command = ("run", source, "-o", str(output), "--models", "demo", "--wire-codec", "jpeg:90")
    done = posetask(*command, "--formats", "jsonl")
    assert done.returncode == 0, done.stderr


def posetask(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "posetask", *args],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def numbers_in(video: Path) -> list[int | None]:
    """Frame numbers as the pixels show them; None where somebody walks in front."""
    with av.open(str(video)) as container:
        return [read_frame_number(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


def assert_whole(video: Path, frames: int) -> None:
    """Every frame once and in order, by what the pixels say."""
    numbers = numbers_in(video)
    assert len(numbers) == frames
    read = {i: number for i, number in enumerate(numbers) if number is not None}
    assert len(read) > frames / 2, "most numbers can be read"
    assert all(i == number for i, number in read.items())


def wait_for(what: Callable[[], object], message: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, message
        time.sleep(0.1)


def annotated(task: Submission) -> int:
    assert task.wait(0) is None, "it ended before it could be disturbed"
    return task.annotated[0]


def test_two_uploads_at_once_come_out_as_if_each_were_alone(
    fleet: Fleet, client: ServiceClient, submit: Submit, tmp_path: Path
) -> None:
    pids = {name: process.pid for name, process in fleet.processes.items()}
    before = frames_of_yolox(client)
    first = submit(world(21, 150), tmp_path / "a.mp4")
    second = submit(world(22, 120), tmp_path / "b.mp4")
    for task, frames in ((first, 150), (second, 120)):
        summary = task.wait(PATIENCE)
        assert summary is not None
        assert (summary.frames_decoded, summary.frames_annotated) == (frames, frames)
        assert summary.models["detector"].name == "demo-detector"
    for name, seed, frames in (("a", 21, 150), ("b", 22, 120)):
        assert_whole(tmp_path / f"{name}.mp4", frames)
        in_peace(world(seed, frames), tmp_path / f"{name}-alone.mp4")
        alone = (tmp_path / f"{name}-alone.jsonl").read_text().splitlines()
        assert (tmp_path / f"{name}.jsonl").read_text().splitlines() == alone
    assert {name: process.pid for name, process in fleet.processes.items()} == pids, "one set of processes"
    assert frames_of_yolox(client) - before == 270


def frames_of_yolox(client: ServiceClient) -> float:
    lines = httpx.get(client.directory["yolox"][0] + "/metrics", timeout=10).text.splitlines()
    assert any(line.startswith("posetask_stage_model_info{") and "demo-detector" in line for line in lines)
    return next(float(line.split()[1]) for line in lines if line.startswith("posetask_stage_frames_total "))


def test_one_is_stopped_by_its_endpoint_while_the_other_completes_and_resumes_by_its_id_alone(
    client: ServiceClient, submit: Submit, tmp_path: Path
) -> None:
    stopped = submit(world(23, 500), tmp_path / "stopped.mp4")
    other = submit(world(24, 100), tmp_path / "other.mp4")
    wait_for(lambda: annotated(stopped) > 5)
    for stage in STAGES:
        assert client.stop(stage, stopped.task_id).status in ("stopping", "stopped")
    assert other.wait(PATIENCE) is not None
    assert_whole(tmp_path / "other.mp4", 100)
    wait_for(lambda: all(status.status == "stopped" for status in look(client, stopped.task_id)))
    halted = client.status("annotator", stopped.task_id)
    assert 5 < halted.frames < 500
    assert not (tmp_path / "stopped.mp4").exists()
    with pytest.raises(TaskConflict, match="other words"):
        client.start("yolox", {"task_id": stopped.task_id, "parameters": {"max_people": 1}})
    resume(client, stopped.task_id)
    summary = stopped.wait(PATIENCE)
    assert summary is not None
    assert summary.frames_annotated == 500
    assert_whole(tmp_path / "stopped.mp4", 500)


@pytest.mark.parametrize("killed", [("yolox", "annotator", "producer"), ("rtmpose", "bytetrack")])
def test_services_that_are_killed_come_back_to_their_tasks_and_nothing_is_lost(
    killed: Sequence[str], fleet: Fleet, client: ServiceClient, submit: Submit, tmp_path: Path
) -> None:
    source = world(25, 400)
    in_peace(source, tmp_path / "peace.mp4")
    task = submit(source, tmp_path / "killed.mp4")
    starts = {name: fleet.processes[name].starts for name in killed}
    for number, name in enumerate(killed):
        wait_for(lambda least=10 + 40 * number: annotated(task) > least)
        fleet.processes[name].send(signal.SIGKILL)
        wait_for(lambda name=name: fleet.processes[name].starts > starts[name])
        wait_for(lambda name=name: fleet.processes[name].ready, f"{name} is not back")
    summary = task.wait(PATIENCE)
    assert summary is not None
    assert (summary.frames_decoded, summary.frames_annotated, summary.warnings) == (400, 400, [])
    assert_whole(tmp_path / "killed.mp4", 400)
    peaceful = (tmp_path / "peace.jsonl").read_text().splitlines()
    assert (tmp_path / "killed.jsonl").read_text().splitlines() == peaceful, "the same people, ids and poses"


def test_only_the_producer_completes_early_and_what_comes_out_is_whole(
    client: ServiceClient, submit: Submit, tmp_path: Path
) -> None:
    task = submit(world(26, 3000), tmp_path / "out.mp4")
    wait_for(lambda: annotated(task) > 5)
    with pytest.raises(TaskConflict, match="does not make the stream") as caught:
        client.complete("yolox", task.task_id)
    assert "producer" in caught.value.hint
    task.stop()
    summary = task.wait(PATIENCE)
    assert summary is not None
    assert summary.interrupted
    assert 5 < summary.frames_annotated == summary.frames_decoded < 3000
    assert_whole(tmp_path / "out.mp4", summary.frames_annotated)
    assert client.complete("producer", task.task_id).status == "completed", "a second time changes nothing"


def test_the_end_of_the_pipeline_takes_the_topics_away_and_then_nothing_can_be_resumed(
    settings: KafkaSettings, client: ServiceClient, tmp_path: Path
) -> None:
    options = RunOptions.parse({"formats": ("jsonl",)})
    task = Submission(client, resolve(world(27, 60))[0], tmp_path / "out.mp4", options)
    for stage, body in reversed(task.bodies.items()):
        client.start(stage, {**body, "topics_after_seconds": 1})
    assert [name for name in TopicAdmin(settings).existing() if name.endswith(task.task_id)]
    assert task.wait(PATIENCE) is not None
    wait_for(lambda: client.status("annotator", task.task_id).topics_removed)
    assert not [name for name in TopicAdmin(settings).existing() if name.endswith(task.task_id)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]
    again = client.start("annotator", {"task_id": task.task_id})
    assert again.status == "completed", "what is complete stays so"
    with pytest.raises(UnknownTask):
        client.status("annotator", "never-heard-of")


def test_a_task_that_fails_says_why_in_the_stage_that_failed(client: ServiceClient, tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    task = "missing-0a0a0a0a"
    client.start("producer", {"task_id": task, "source": str(missing)})
    wait_for(lambda: client.status("producer", task).status == "failed")
    error = client.status("producer", task).error
    assert error is not None
    assert (error.reason, error.retryable, str(missing) in error.message) == ("SourceNotFound", False, True)


def test_up_ends_all_services_on_sigterm_and_refuses_a_folder_that_is_in_use(
    settings: KafkaSettings, tmp_path: Path
) -> None:
    command = ("services", "up", "--stage", "bytetrack", "--count", "bytetrack=2", "--free-ports")
    place = ("--kafka", settings.bootstrap, "--state", str(tmp_path))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "posetask", *command, *place], stdout=log, stderr=log, text=True
        )
    try:
        wait_for(lambda: "all are ready" in (tmp_path / "log").read_text(), "they did not start")
        second = posetask("services", "up", "--stage", "bytetrack", "--free-ports", *place)
        assert (second.returncode, "another set of services works in" in second.stderr) == (
            NotAvailable.exit_code,
            True,
        )
        listed = posetask("services", "list", "--state", str(tmp_path), "--json")
        assert (listed.returncode, listed.stdout) == (0, "[]\n"), listed.stderr
        process.terminate()
        assert process.wait(60) == 0
        said = (tmp_path / "log").read_text()
        assert "bytetrack   | " in said
        assert "bytetrack-1 | " in said
        assert not (tmp_path / "services.json").exists()
        assert all((tmp_path / name / "clean").exists() for name in ("bytetrack", "bytetrack-1"))
    finally:
        process.kill()
        process.wait()


def test_up_stops_where_a_service_can_never_start(settings: KafkaSettings, tmp_path: Path) -> None:
    done = posetask(
        *("services", "up", "--stage", "yolox", "--stage", "bytetrack", "--detector", "no-such-model"),
        *("--free-ports", "--kafka", settings.bootstrap, "--state", str(tmp_path)),
    )
    assert done.returncode == 21, done.stderr
    assert "UnknownModel" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
