"""MOT text and JSON Lines."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
import pytest

from posetask.exports import RunMetadata
from posetask.exports.jsonl import JsonlWriter
from posetask.exports.mot import MotWriter
from posetask.exports.writer import FileWriter
from posetask.messages import Tracks

MakeTracks = Callable[..., Tracks]


def write(kind: type[FileWriter], path: Path, metadata: RunMetadata, frames: list[Tracks]) -> Path:
    writer = kind(path, metadata)
    for tracks in frames:
        writer.write(tracks)
    return writer.close()


@pytest.fixture
def frames(make_tracks: MakeTracks) -> list[Tracks]:
    return [make_tracks(i, (2, 0, 3)[i % 3], interpolated=i == 1) for i in range(6)]


# MOT ------------------------------------------------------------------------------------------------------


def test_mot_lines_are_one_based_and_have_ten_fields(
    tmp_path: Path, metadata: RunMetadata, frames: list[Tracks]
) -> None:
    lines = write(MotWriter, tmp_path / "a", metadata, frames).read_text().splitlines()
    assert len(lines) == 10
    rows = [line.split(",") for line in lines]
    assert {len(row) for row in rows} == {10}
    assert {tuple(row[7:]) for row in rows} == {("-1", "-1", "-1")}
    assert [int(row[0]) for row in rows] == [1, 1, 3, 3, 3, 4, 4, 6, 6, 6]
    x1, y1, x2, y2 = frames[0].xyxy[1].tolist()
    assert [float(v) for v in rows[1][1:6]] == pytest.approx([2, x1, y1, x2 - x1, y2 - y1], abs=1e-3)
    assert float(rows[1][6]) == pytest.approx(float(frames[0].scores[1]), abs=1e-6)


def test_motmetrics_reads_the_mot_file(tmp_path: Path, metadata: RunMetadata, frames: list[Tracks]) -> None:
    path = write(MotWriter, tmp_path / "a.txt", metadata, frames)
    with warnings.catch_warnings():  # of motmetrics' own use of pandas
        warnings.filterwarnings("ignore", message="Operation with tuple is deprecated")
        table = motmetrics.io.loadtxt(str(path), fmt="mot15-2D")
    assert len(table) == 10
    assert sorted(table.index.get_level_values(0).unique()) == [1, 3, 4, 6]
    found = table.loc[(3, 2)]
    x1, y1, x2, y2 = frames[2].xyxy[1].tolist()
    # motmetrics counts pixels from 1 and takes 1 off.
    assert [found["X"] + 1, found["Y"] + 1, found["Width"], found["Height"]] == pytest.approx(
        [x1, y1, x2 - x1, y2 - y1], abs=2e-3
    )


def test_mot_leaves_out_boxes_that_are_not_finite(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    tracks = make_tracks(0, 3)
    tracks.xyxy[1, 0] = np.inf
    tracks.scores[2] = np.nan
    text = write(MotWriter, tmp_path / "a", metadata, [tracks]).read_text()
    assert [line.split(",")[1] for line in text.splitlines()] == ["1", "3"]
    assert "nan" not in text
    assert "inf" not in text


def test_mot_of_nobody_is_an_empty_file(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    assert write(MotWriter, tmp_path / "a", metadata, [make_tracks(0, 0)]).read_bytes() == b""


# JSON Lines -----------------------------------------------------------------------------------------------


def strict(line: str) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    value: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return value


def test_every_frame_has_its_line(tmp_path: Path, metadata: RunMetadata, frames: list[Tracks]) -> None:
    path = write(JsonlWriter, tmp_path / "a", metadata, frames)
    assert path.read_bytes().endswith(b"}\n")
    lines = [strict(line) for line in path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    assert [line["interpolated"] for line in lines] == [False, True, False, False, False, False]
    for line, tracks in zip(lines, frames, strict=True):
        assert line["time"] == pytest.approx(tracks.header.time, abs=1e-6)
        assert line["pts_us"] == pytest.approx(tracks.header.time * 1e6, abs=1)
        assert [person["id"] for person in line["people"]] == tracks.ids.tolist()
        assert [person["det_index"] for person in line["people"]] == tracks.det_index.tolist()
        for row, person in enumerate(line["people"]):
            assert person["bbox"] == pytest.approx(tracks.xyxy[row], abs=1e-3)
            assert person["score"] == pytest.approx(float(tracks.scores[row]), abs=1e-6)
            points = np.array(person["keypoints"])
            assert points[:, :2] == pytest.approx(tracks.keypoints[row], abs=1e-3)
            assert points[:, 2] == pytest.approx(tracks.keypoint_scores[row], abs=1e-4)


def test_what_is_not_finite_is_null(tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks) -> None:
    tracks = make_tracks(0, 3)
    tracks.keypoints[0], tracks.keypoint_scores[0] = np.nan, 0
    tracks.xyxy[1] = (-np.inf, 0, np.inf, 3e38)
    tracks.scores[2] = np.nan
    (line,) = write(JsonlWriter, tmp_path / "a", metadata, [tracks]).read_text().splitlines()
    one, two, three = strict(line)["people"]
    assert one["keypoints"] == [[None, None, 0]] * 17
    assert two["bbox"][0] is None
    assert two["bbox"][2] is None
    assert two["bbox"][3] == pytest.approx(3e38, rel=1e-6)
    assert three["score"] is None
