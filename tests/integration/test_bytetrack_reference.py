"""Every stored decision of the published ByteTrack, given again by ours and by the port of bench/."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from posetask.cli.track import track
from posetask.tracking import ByteTracker, ByteTrackParameters

app = typer.Typer()
app.command()(track)

pytestmark = pytest.mark.real_data

SETTINGS = ("track", "demo")
CASES = [
    *((name, setting) for name in (
        "d01_sparse_vga",
        "d02_street_720p",
        "d03_busy_1080p",
        "d04_lowfps",
        "d05_highfps_portrait",
        "d06_crossing",
        "d07_gaps_fps10",
        "d08_object_gaps_fps10",
        "d09_threshold_scores",
        "d10_empty_start",
        "d11_noisy_float",
        "d12_crowd150",
    ) for setting in SETTINGS),
    *(("d09_threshold_scores", setting) for setting in ("t04", "track_f64", "demo_f64", "t04_f64")),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "bytetrack"


class Reference:
    """One stream under one setting."""

    def __init__(self, path: Path, setting: str) -> None:
        with np.load(path) as stored:
            self.arrays = dict(stored)
        meta = json.loads(str(self.arrays["meta"]))
        self.name = setting
        self.setting: dict[str, Any] = meta["settings"][setting]
        self.frames: int = meta["n_frames"]
        self.dtype = np.dtype(self.setting["input_dtype"])

    @property
    def tuning(self) -> dict[str, Any]:
        return {k: self.setting[k] for k in ("track_thresh", "match_thresh", "track_buffer", "mot20")}

    def feed(self) -> list[tuple[np.ndarray, np.ndarray]]:
        of_frame = [self.arrays["frame"] == number for number in range(1, self.frames + 1)]
        return [
            (self.arrays["xyxy"][rows].astype(self.dtype), self.arrays["score"][rows].astype(self.dtype))
            for rows in of_frame
        ]

    def check(self, frame: Any, ids: Any, det_index: Any, scores: Any, tlwh: Any) -> None:
        stored = {
            key: self.arrays[f"{self.name}_out_{key}"]
            for key in ("frame", "id", "det_index", "score", "tlwh")
        }
        np.testing.assert_array_equal(np.asarray(frame), stored["frame"])
        np.testing.assert_array_equal(np.asarray(ids), stored["id"])
        np.testing.assert_array_equal(np.asarray(det_index), stored["det_index"])
        np.testing.assert_array_equal(np.asarray(scores), stored["score"])
        assert np.abs(np.asarray(tlwh) - stored["tlwh"]).max() <= 1e-3


def test_the_list_of_cases_is_all_that_is_stored(folder: Path) -> None:
    stored = []
    for path in folder.glob("*.npz"):
        with np.load(path) as arrays:
            stored += [(path.stem, setting) for setting in json.loads(str(arrays["meta"]))["settings"]]
    assert sorted(stored) == sorted(CASES)


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_ours_gives_the_published_tracks(folder: Path, name: str, setting: str) -> None:
    reference = Reference(folder / f"{name}.npz", setting)
    tracker = ByteTracker(ByteTrackParameters(**reference.tuning), reference.setting["frame_rate"])
    assert tracker.max_time_lost == reference.setting["max_time_lost"]
    outputs = [tracker.update(xyxy, scores) for xyxy, scores in reference.feed()]
    reference.check(
        np.repeat(np.arange(1, reference.frames + 1), [len(out.ids) for out in outputs]),
        np.concatenate([out.ids for out in outputs]),
        np.concatenate([out.det_index for out in outputs]),
        np.concatenate([out.scores for out in outputs]),
        np.concatenate([out.tlwh for out in outputs]),
    )
    assert tracker.ids_issued == reference.setting["last_id_issued"]


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_the_port_gives_the_published_tracks(
    folder: Path, reference_port: ModuleType, name: str, setting: str
) -> None:
    reference = Reference(folder / f"{name}.npz", setting)
    tracker = reference_port.ReferencePort(reference.setting["frame_rate"], **reference.tuning)
    rows = [
        (frame, found.id, found.det_index, found.score, found.tlwh)
        for frame, (xyxy, scores) in enumerate(reference.feed(), start=1)
        for found in tracker.update(xyxy, scores)
    ]
    reference.check(*zip(*rows, strict=True))
    assert tracker.issued == reference.setting["last_id_issued"]


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_the_command_gives_the_published_tracks(
    folder: Path, tmp_path: Path, name: str, setting: str
) -> None:
    reference = Reference(folder / f"{name}.npz", setting)
    source = tmp_path / "det.npz"
    np.savez(
        source,
        frame=reference.arrays["frame"],
        xyxy=reference.arrays["xyxy"].astype(reference.dtype),
        score=reference.arrays["score"].astype(reference.dtype),
    )
    tuning = reference.tuning
    result = CliRunner().invoke(
        app,
        [
            *(str(source), "-o", str(tmp_path / "tracks.npz")),
            *("--frame-rate", str(reference.setting["frame_rate"])),
            *("--frames", str(reference.frames)),
            *("--track-thresh", str(tuning["track_thresh"])),
            *("--match-thresh", str(tuning["match_thresh"])),
            *("--track-buffer", str(tuning["track_buffer"])),
            *(["--mot20"] if tuning["mot20"] else []),
        ],
    )
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "tracks.npz") as out:
        reference.check(out["frame"], out["id"], out["det_index"], out["score"], out["tlwh"])
