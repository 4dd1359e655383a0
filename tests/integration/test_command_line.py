"""The command as a person or a script uses it: exit codes, what is printed, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

Models = tuple[Path, Path]


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "posetask", *map(str, args)]


def posetask(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=50)


def with_models(models: Models) -> list[str]:
    return ["--detector", str(models[0]), "--pose", str(models[1])]


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_run_prints_a_summary_and_json_says_the_same(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    plain = posetask("run", red_clip, "-o", tmp_path / "a.mp4", *with_models(tiny_models))
    assert plain.returncode == 0, plain.stderr
    assert "40 declared, 40 decoded, 40 annotated" in plain.stdout
    assert "2 at most in a frame" in plain.stdout
    coded = posetask("run", red_clip, "-o", tmp_path / "b.mp4", *with_models(tiny_models), "--json")
    summary = json.loads(coded.stdout)
    assert (summary["frames_annotated"], summary["tracks"]) == (40, 2)
    assert summary["output"] == str(tmp_path / "b.mp4")
    assert set(summary["exports"]) == {"parquet", "coco", "mot", "jsonl"}


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["run", "none.mp4"], 20, "SourceNotFound"),
        (["run", "{clip}", "--every-n", "0"], 20, "every_n"),
        (["run", "{clip}", "--detector", "none.onnx"], 21, "none.onnx"),
        (["run", "{clip}", "--detector", "yolox-s"], 21, "posetask models pull"),
        (["run", "{text}"], 20, "text.mp4"),
        (["render", "{clip}", "{text}", "-o", "{out}"], 20, "text.mp4"),
        (["track", "none.txt", "-o", "{out}.txt"], 20, "none.txt"),
        (["run", "{clip}", "--models", "best"], 20, "models"),
    ],
)
def test_what_a_user_gets_wrong_is_one_clear_message_and_an_exit_code(
    args: list[str], code: int, words: str, red_clip: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 50)
    done = posetask(*(a.format(clip=red_clip, text=text, out=tmp_path / "o.mp4") for a in args))
    said = " ".join(done.stderr.split())
    assert done.returncode == code, said
    assert words in said
    assert "next:" in said
    assert "Traceback" not in said


def test_errors_are_json_where_json_was_asked_for(tmp_path: Path) -> None:
    done = posetask("run", tmp_path / "none.mp4", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["error"], said["retryable"]) == (20, "SOURCE_NOT_FOUND", False)
    assert said["hint"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_leaves_a_valid_shorter_result(
    number: signal.Signals, tiny_models: Models, tmp_path: Path
) -> None:
    clip = tmp_path / "long.mp4"
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        image = np.full((180, 320, 3), 90, np.uint8)
        for _ in range(6000):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(stream.encode(None))
    process = subprocess.Popen(
        command("run", clip, "-o", tmp_path / "out.mp4", *with_models(tiny_models), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stream_there = tmp_path / "out.hls" / "segment_00000.m4s"
    deadline = time.monotonic() + 40
    while not stream_there.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    printed, said = process.communicate(timeout=40)
    assert process.returncode == 130, said
    summary = json.loads(printed)
    assert summary["interrupted"]
    assert 0 < summary["frames_annotated"] == summary["frames_decoded"] < 6000
    assert len(pictures(tmp_path / "out.mp4")) == summary["frames_annotated"]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == summary["frames_annotated"]
    assert not (tmp_path / "out.hls").exists()


def test_several_videos_go_into_a_folder_and_one_bad_one_does_not_stop_the_others(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "c.mp4"):
        (folder / name).write_bytes(red_clip.read_bytes())
    (folder / "b.mp4").write_bytes(b"\0" * 4096)
    done = posetask("run", folder, "-o", tmp_path / "out", *with_models(tiny_models), "--formats", "")
    assert done.returncode == 20
    assert "NotAVideo" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a-posetask.mp4", "c-posetask.mp4"]


def test_render_draws_the_same_pictures_again_without_models(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    run = posetask(
        "run", red_clip, "-o", tmp_path / "a.mp4", *with_models(tiny_models), "--formats", "parquet"
    )
    assert run.returncode == 0, run.stderr
    done = posetask("render", red_clip, tmp_path / "a.parquet", "-o", tmp_path / "b.mp4")
    assert done.returncode == 0, done.stderr
    first, second = pictures(tmp_path / "a.mp4"), pictures(tmp_path / "b.mp4")
    assert len(first) == len(second) == 40
    assert all((x == y).all() for x, y in zip(first, second, strict=True))


def test_render_refuses_poses_of_another_video(red_clip: Path, tiny_models: Models, tmp_path: Path) -> None:
    run = posetask(
        "run",
        red_clip,
        "-o",
        tmp_path / "a.mp4",
        *with_models(tiny_models),
        "--start",
        "0.4",
        "--formats",
        "parquet",
    )
    assert run.returncode == 0, run.stderr
    assert pq.read_table(tmp_path / "a.parquet")["pts_us"].to_pylist()[0] == 400_000
    done = posetask("render", red_clip, tmp_path / "a.parquet", "-o", tmp_path / "b.mp4")
    assert done.returncode == 20
    assert "--start" in done.stderr
    again = posetask("render", red_clip, tmp_path / "a.parquet", "-o", tmp_path / "b.mp4", "--start", "0.4")
    assert again.returncode == 0, again.stderr


def test_doctor_names_every_part_and_how_to_mend_it() -> None:
    done = posetask("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert set(findings) == {"python", "inference", "threads", "codecs", "opencv", "models", "disk"}
    assert done.returncode == int(any(f["level"] == "error" for f in findings.values()))
    assert all(f["remedy"] for f in findings.values() if f["level"] != "ok")


def test_help_of_every_command_opens() -> None:
    from typer.testing import CliRunner

    from posetask.cli.main import app

    runner = CliRunner()
    top = runner.invoke(app, ["--help"]).output
    for name in ("run", "demo", "render", "track", "models", "doctor", "eval", "synth"):
        assert name in top
        assert runner.invoke(app, [name, "--help"]).exit_code == 0
    assert posetask("--version").stdout.startswith("posetask 0.")
