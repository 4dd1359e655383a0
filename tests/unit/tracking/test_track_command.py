from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from posetask.cli.track import track
from posetask.errors import InvalidParameters, OutputExists, PoseTaskError, SourceNotFound

app = typer.Typer()
app.command()(track)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    path = tmp_path / "det.npz"
    frame = np.repeat(np.arange(1, 11), 2)
    boxes = np.array([[10, 10, 60, 160], [300, 10, 350, 160]], np.float32)
    xyxy = np.tile(boxes, (10, 1)) + frame[:, None].astype(np.float32)
    np.savez(path, frame=frame, xyxy=xyxy, score=np.full(20, 0.9, np.float32))
    return path


def test_it_says_in_one_line_what_it_did(detections: Path, tmp_path: Path) -> None:
    result = run(detections, "-o", tmp_path / "t.txt")
    assert result.exit_code == 0, result.output
    [line] = result.stdout.splitlines()
    assert line.startswith(f"{tmp_path}/t.txt: 2 tracks (20 boxes) of 20 detections in 10 frames, ")
    assert line.endswith(" frames/s")
    assert not result.stderr
    assert len((tmp_path / "t.txt").read_text().splitlines()) == 20


def test_what_it_wrote_it_can_read_and_gives_the_same_tracks_from_text(
    detections: Path, tmp_path: Path
) -> None:
    assert run(detections, "-o", tmp_path / "t.txt").exit_code == 0
    assert run(tmp_path / "t.txt", "-o", tmp_path / "t.npz").exit_code == 0
    with np.load(tmp_path / "t.npz") as stored:
        assert stored["id"].tolist() == [1, 2] * 10


def test_json_has_the_same_figures(detections: Path, tmp_path: Path) -> None:
    told = json.loads(run(detections, "-o", tmp_path / "t.npz", "--frames", 12, "--json").stdout)
    assert told.pop("fps") > 0
    assert told == {
        "output": f"{tmp_path}/t.npz",
        "frames": 12,
        "detections": 20,
        "tracks": 2,
        "boxes": 20,
    }


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], [1, 1, 1]),
        (["--track-thresh", 0.85], []),  # nothing reaches 0.95
        (["--match-thresh", 0.25], [1]),  # 1 - IoU x score is 0.28
        (["--match-thresh", 0.25, "--mot20"], [1, 1]),  # 1 - IoU is 0.1, and more than 0.25 after the gap
        (["--frame-rate", 10], [1, 1]),  # a second is 10 frames, and 15 are missing
        (["--frame-rate", 10, "--track-buffer", 60], [1, 1, 1]),
    ],
)
def test_options_reach_the_tracker(tmp_path: Path, options: list[object], ids: list[int]) -> None:
    (tmp_path / "det.txt").write_text("1,-1,0,0,99,99,0.8\n2,-1,0,0,99,89,0.8\n18,-1,0,0,99,91,0.8\n")
    result = run(tmp_path / "det.txt", "-o", tmp_path / "t.npz", *options)
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "t.npz") as stored:
        assert stored["id"].tolist() == ids


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (["--track-thresh", "2"], InvalidParameters, "track_thresh"),
        (["--match-thresh", "0"], InvalidParameters, "match_thresh"),
        (["--track-buffer", "-3"], InvalidParameters, "track_buffer"),
        (["--frame-rate", "0"], InvalidParameters, "frame_rate"),
        (["--frame-rate", "nan"], InvalidParameters, "frame_rate"),
        (["--frames", "-1"], InvalidParameters, "-1 frames"),
        (["--frames", "9"], InvalidParameters, "but 9 frames"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    detections: Path, tmp_path: Path, options: list[str], error: type[PoseTaskError], says: str
) -> None:
    result = run(detections, "-o", tmp_path / "t.txt", *options)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
    assert not (tmp_path / "t.txt").exists()


def test_missing_input_and_existing_output_are_refused(detections: Path, tmp_path: Path) -> None:
    assert isinstance(run(tmp_path / "no.txt", "-o", tmp_path / "t.txt").exception, SourceNotFound)
    (tmp_path / "t.txt").write_text("mine")
    assert isinstance(run(detections, "-o", tmp_path / "t.txt").exception, OutputExists)
    assert (tmp_path / "t.txt").read_text() == "mine"
    assert isinstance(run(detections, "-o", detections, "--force").exception, InvalidParameters)


def test_what_may_surprise_is_said_on_the_side(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_text("2,-1,10,10,50,150,40\n1,-1,10,10,50,150,55\n1,-1,10,10,50,0,0.9\n")
    result = run(path, "-o", tmp_path / "t.txt")
    assert [line.split(";")[0] for line in result.stderr.splitlines()] == [
        "note: the frames were not in order and have been sorted",
        "note: 1 boxes without a height, or inside out, were left out",
        "note: scores reach 55",
    ]
    path.write_text("1,-1,10,10,50,150,0.65\n")
    result = run(path, "-o", tmp_path / "t.txt", "--force")
    assert "no track: one starts at a score of 0.7, the best here is 0.65" in result.stderr
