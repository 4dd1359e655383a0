"""`posetask run` on the real clips with real weights: what it leaves is whole, exact, and opens elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.real_data, pytest.mark.timeout(240)]

CLIPS = ["one-by-one-person-detection.mp4", "store-aisle-detection_480x270.mp4", "mmpose_demo.mp4"]
FRAMES = {CLIPS[0]: 1394, CLIPS[1]: 67, CLIPS[2]: 5}
WEIGHTS = ["--detector", "yolox_nano.onnx", "--pose", "tinypose_256x192_simcc.onnx"]


@dataclass(frozen=True)
class Result:
    clip: Path
    output: Path
    summary: dict[str, Any]

    def beside(self, suffix: str) -> Path:
        return self.output.with_name(self.output.stem + suffix)


def posetask(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "posetask", *map(str, args)], capture_output=True, text=True)


@pytest.fixture(scope="module", params=CLIPS)
def result(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    output = tmp_path_factory.mktemp("out") / "out.mp4"
    clip = shared_data / "videos" / request.param
    weights = [str(shared_data / "models" / w) if w.endswith(".onnx") else w for w in WEIGHTS]
    done = posetask("run", clip, "-o", output, *weights, "--json")
    assert done.returncode == 0, done.stderr
    return Result(clip, output, json.loads(done.stdout))


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return sorted(f.pts * f.time_base for f in container.decode(video=0))


def test_every_decoded_frame_is_annotated_and_declared_counts_agree_on_intact_clips(result: Result) -> None:
    frames = FRAMES[result.clip.name]
    assert result.summary["frames_decoded"] == result.summary["frames_annotated"] == frames
    assert result.summary["warnings"] == []


def test_the_mp4_is_h264_yuv420p_faststart_with_the_sources_frames_and_times(result: Result) -> None:
    with av.open(str(result.output)) as made:
        stream = made.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == FRAMES[result.clip.name]
    head = result.output.read_bytes()
    assert 0 < head.index(b"moov") < head.index(b"mdat")
    assert times(result.output) == times(result.clip)


def test_ffprobe_says_the_same(result: Result) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe not found (make setup-real)")

    def probe(path: Path) -> dict[str, Any]:
        command = [
            "ffprobe",
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v:0",
            "-show_streams",
            "-show_format",
            "-of",
            "json",
        ]
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return dict(json.loads(done.stdout))

    ours, source = probe(result.output), probe(result.clip)
    mine, theirs = ours["streams"][0], source["streams"][0]
    assert (mine["codec_name"], mine["pix_fmt"]) == ("h264", "yuv420p")
    assert int(mine["nb_read_frames"]) == int(theirs["nb_read_frames"]) == FRAMES[result.clip.name]
    assert Fraction(mine["avg_frame_rate"]) == Fraction(theirs["avg_frame_rate"])
    assert float(mine["duration"]) == pytest.approx(float(theirs["duration"]), abs=1e-3)


@pytest.mark.browser
def test_chromium_plays_it_to_the_end(
    result: Result, watch: Callable[[Path, str], dict[str, Any]], page: Callable[..., str]
) -> None:
    seconds = float(times(result.clip)[-1])
    report = watch(result.output.parent, page(rate=16 if seconds > 30 else 1))
    assert "error" not in report, report
    assert report["ended"]
    assert report["time"] == pytest.approx(report["duration"], abs=0.05)
    assert report["duration"] > seconds


def test_parquet_opens_and_agrees_with_the_summary(result: Result) -> None:
    table = pq.read_table(result.beside(".parquet"))
    ids = table["track_id"].to_numpy()
    frames = table["frame"].to_numpy()
    assert len(set(ids.tolist())) == result.summary["tracks"]
    assert np.bincount(frames).max() == result.summary["people"]
    assert (np.diff(frames) >= 0).all()
    pts = {round(t * 1_000_000) for t in times(result.clip)}
    assert set(table["pts_us"].to_pylist()) <= pts


def test_coco_opens_in_pycocotools(result: Result) -> None:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(result.beside(".coco.json")))
    assert len(coco.imgs) == result.summary["frames_annotated"]
    assert len({a["track_id"] for a in coco.anns.values()}) == result.summary["tracks"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_mot_opens_in_motmetrics(result: Result) -> None:
    import motmetrics

    table = motmetrics.io.loadtxt(str(result.beside(".mot.txt")), fmt="mot15-2D")
    assert table.index.get_level_values("Id").nunique() == result.summary["tracks"]
    assert table.index.get_level_values("FrameId").min() >= 1


def test_jsonl_has_a_line_for_every_frame(result: Result) -> None:
    lines = [json.loads(line) for line in result.beside(".jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(result.summary["frames_annotated"]))
    assert max(len(line["people"]) for line in lines) == result.summary["people"]


def test_a_second_run_finds_the_very_same_people(shared_data: Path, tmp_path: Path) -> None:
    weights = [str(shared_data / "models" / w) if w.endswith(".onnx") else w for w in WEIGHTS]
    clip = shared_data / "videos" / CLIPS[1]
    tables = []
    for name in ("a", "b"):
        done = posetask("run", clip, "-o", tmp_path / f"{name}.mp4", *weights, "--formats", "parquet")
        assert done.returncode == 0, done.stderr
        tables.append(pq.read_table(tmp_path / f"{name}.parquet"))
    assert tables[0].equals(tables[1])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
