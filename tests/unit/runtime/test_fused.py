"""All stages in one process: its result, its words, its pages, and ends that others understand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from posetask.errors import InputError, InvalidParameters, OutputExists
from posetask.runtime.fused import FusedProcess
from posetask.runtime.reports import StageReport
from posetask.runtime.stagespec import StageProcessSpec

Make = Callable[..., StageProcessSpec]
FIVE = ["producer", "yolox", "rtmpose", "bytetrack", "annotator"]


class Said:
    """Takes the words of a run, as a broker would."""

    def __init__(self) -> None:
        self.last: dict[str, StageReport] = {}
        self.closed = False

    def write(self, run: str, stage: str, value: bytes | None) -> None:
        assert run == "demo-1"
        self.last[stage] = StageReport.model_validate_json(value or b"")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def make(tiny_models: tuple[Path, Path], red_clip: Path, tmp_path: Path) -> Make:
    def made(**fields: Any) -> StageProcessSpec:
        parameters = {"yolox": {"model": str(tiny_models[0])}, "rtmpose": {"model": str(tiny_models[1])}}
        given = fields.pop("parameters", {})
        for name in given:
            parameters[name] = {**parameters.get(name, {}), **given[name]}
        base = {
            "run": "demo-1",
            "stage": "fused",
            "source": str(red_clip),
            "output": str(tmp_path / "out.mp4"),
            "formats": ("jsonl",),
            "listen": "127.0.0.1:0",
        }
        return StageProcessSpec.model_validate({**base, "parameters": parameters, **fields})

    return made


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_run_leaves_its_result_and_says_what_five_stages_would(make: Make, tmp_path: Path) -> None:
    words = Said()
    process = FusedProcess(make(), words)
    process.run()
    assert process.state == "done"
    assert frames_in(tmp_path / "out.mp4") == 40
    assert (tmp_path / "out.jsonl").exists()
    assert words.closed
    assert list(words.last) == FIVE
    assert {r.state for r in words.last.values()} == {"done"}
    assert {r.frames for r in words.last.values()} == {40}
    facts = words.last["annotator"].facts
    assert (facts["frames"], facts["people"], facts["tracks"], len(facts["sha256"])) == (40, 2, 2, 64)
    assert words.last["yolox"].facts["model"]["name"]
    assert words.last["producer"].facts["decode"]["frames_decoded"] == 40


def test_a_second_process_of_a_run_that_ended_changes_nothing(make: Make, tmp_path: Path) -> None:
    FusedProcess(make()).run()
    before = (tmp_path / "out.mp4").stat()
    again, words = FusedProcess(make(), said := Said()), said
    again.run()
    assert again.state == "done"
    assert (tmp_path / "out.mp4").stat() == before
    assert words.last["annotator"].facts["frames"] == 40
    assert {r.state for r in words.last.values()} == {"done"}


def test_a_process_that_takes_over_replaces_what_its_run_left_and_nothing_else(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "out.mp4").write_bytes(b"half of an earlier attempt")
    with pytest.raises(OutputExists):
        FusedProcess(make()).run()
    (tmp_path / "out.hls").mkdir()
    (tmp_path / "out.hls" / "run.id").write_text("demo-1")
    FusedProcess(make()).run()
    assert frames_in(tmp_path / "out.mp4") == 40
    with pytest.raises(OutputExists):
        FusedProcess(make(run="demo-2")).run()


def test_parameters_go_to_their_stages(make: Make, tmp_path: Path) -> None:
    given = {"producer": {"every_n": 4}, "bytetrack": {"every_n": 4}, "annotator": {"boxes": True}}
    process = FusedProcess(make(parameters=given), words := Said())
    process.run()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert sum(line.get("interpolated") is True for line in lines) == 30
    assert words.last["annotator"].frames == 40


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"parameters": {"yolo": {"x": 1}}}, "parameters of yolo"),
        ({"parameters": {"yolox": {"colour": 1}}}, "colour"),
        ({"output": None}, "needs an output"),
        ({"source": None}, "needs a source"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], words: str, make: Make) -> None:
    with pytest.raises(InvalidParameters, match=words) as caught:
        FusedProcess(make(**fields)).run()
    assert caught.value.hint


def test_a_failure_is_said_by_every_stage(make: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    process = FusedProcess(make(source=str(tmp_path / "bad.mp4")), words := Said())
    with pytest.raises(InputError):
        process.run()
    assert {r.state for r in words.last.values()} == {"failed"}
    error = words.last["annotator"].error
    assert error is not None
    assert error.reason == "NotAVideo"
    assert not (tmp_path / "out.mp4").exists()


def test_its_pages_tell_how_far_it_is(make: Make) -> None:
    process = FusedProcess(make(source="synth:frames=400,size=128x96,people=1"))
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        deadline, ready = time.monotonic() + 50, 0
        while ready != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
            with contextlib.suppress(httpx.TransportError, AttributeError):
                ready = httpx.get(f"http://{process.server.address}/readyz").status_code
        assert ready == 200
        base = f"http://{process.server.address}"
        assert [report["stage"] for report in httpx.get(f"{base}/status").json()] == FIVE
        text = httpx.get(f"{base}/metrics").text
        assert 'posetask_stage_info{stage="fused"' in text
        assert "posetask_stage_ready 1.0" in text
    finally:
        process.stop()
        thread.join(50)
    assert process.state in {"stopped", "done"}


def fused(tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    base = {"POSETASK_TERMINATION_LOG": str(tmp_path / "last"), "POSETASK_KAFKA": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "posetask", "fused", "--listen", "127.0.0.1:0"],
        env={**os.environ, **base, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_ends_as_a_stage_does(make: Make, tmp_path: Path) -> None:
    long = make(source="synth:frames=3000,size=320x240,people=1", output=str(tmp_path / "long.mp4"))
    spec = tmp_path / "spec.json"
    spec.write_text(long.model_dump_json(exclude_defaults=True, exclude={"stage", "listen"}))
    process = fused(tmp_path)
    _, err = process.communicate(timeout=50)
    said = json.loads((tmp_path / "last").read_text())
    assert (process.returncode, said["reason"]) == (20, "InvalidParameters"), err
    assert "Traceback" not in err
    process = subprocess.Popen(
        [sys.executable, "-m", "posetask", "fused", "--listen", "127.0.0.1:0", "--spec", str(spec)],
        env={**os.environ, "POSETASK_KAFKA": ""},
    )
    deadline = time.monotonic() + 50
    while not (tmp_path / "long.hls" / "segment_00000.m4s").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert not (tmp_path / "long.mp4").exists()
