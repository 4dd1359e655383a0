"""COCO keypoints: pycocotools loads it, and it says what the tracks say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posetask.exports import RunMetadata
from posetask.exports.coco import CocoWriter
from posetask.messages import COCO_17, Tracks

MakeTracks = Callable[..., Tracks]


def write(path: Path, metadata: RunMetadata, frames: list[Tracks]) -> Path:
    writer = CocoWriter(path, metadata)
    for tracks in frames:
        writer.write(tracks)
    return writer.close()


@pytest.fixture
def frames(make_tracks: MakeTracks) -> list[Tracks]:
    return [make_tracks(i, (2, 0, 3, 1)[i % 4], interpolated=i % 2 == 1) for i in range(8)]


@pytest.fixture
def written(tmp_path: Path, metadata: RunMetadata, frames: list[Tracks]) -> Path:
    return write(tmp_path / "a.coco.json", metadata, frames)


def test_pycocotools_loads_all_frames_and_people(written: Path, frames: list[Tracks]) -> None:
    coco = COCO(str(written))
    assert sorted(coco.getImgIds()) == list(range(8))
    assert [len(coco.getAnnIds(imgIds=[i])) for i in range(8)] == [len(tracks) for tracks in frames]
    assert coco.getCatIds(catNms=["person"]) == [1]
    for tracks in frames:
        for row, annotation in enumerate(coco.loadAnns(coco.getAnnIds(imgIds=[tracks.header.index]))):
            x1, y1, x2, y2 = tracks.xyxy[row].tolist()
            assert annotation["track_id"] == tracks.ids[row]
            assert annotation["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
            assert annotation["area"] == pytest.approx((x2 - x1) * (y2 - y1), abs=1e-2)
            assert annotation["score"] == pytest.approx(float(tracks.scores[row]), abs=1e-6)
            assert annotation["interpolated"] == tracks.interpolated
            triples = np.array(annotation["keypoints"]).reshape(17, 3)
            assert triples[:, :2] == pytest.approx(tracks.keypoints[row], abs=1e-3)
            assert annotation["keypoint_scores"] == pytest.approx(tracks.keypoint_scores[row], abs=1e-4)


def test_evaluated_against_itself_it_is_perfect(written: Path) -> None:
    truth = COCO(str(written))
    results = truth.loadRes(json.loads(written.read_text())["annotations"])
    evaluation = COCOeval(truth, results, "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("score", "x", "flag"),
    [
        (0.9, 10.0, 2),
        (0.3, 10.0, 2),
        (0.29, 10.0, 1),
        (0.0, 10.0, 0),
        (-1.0, 10.0, 0),
        (0.9, np.nan, 0),
        (np.nan, 1.0, 0),
    ],
)
def test_visibility_flag(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks, score: float, x: float, flag: int
) -> None:
    tracks = make_tracks(0, 1)
    tracks.keypoints[:, 3, 0] = x
    tracks.keypoint_scores[:, 3] = score
    annotation = json.loads(write(tmp_path / "a", metadata, [tracks]).read_text())["annotations"][0]
    triple = annotation["keypoints"][9:12]
    assert triple[2] == flag
    assert (triple[:2] == [0, 0]) == (flag == 0)
    assert annotation["num_keypoints"] == 16 + (flag > 0)


def test_what_is_not_finite_leaves_valid_json(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    tracks = make_tracks(0, 4)
    tracks.keypoints[0], tracks.keypoint_scores[0] = np.nan, 0
    tracks.scores[1] = np.inf
    tracks.xyxy[2, 3] = np.nan  # no box: the format knows no null, the person is left out
    tracks.xyxy[3] = (30, 30, 10, 10)

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    data = json.loads(write(tmp_path / "a", metadata, [tracks]).read_text(), parse_constant=refuse)
    first, second, last = data["annotations"]
    assert [a["track_id"] for a in data["annotations"]] == [1, 2, 4]
    assert first["num_keypoints"] == 0
    assert not any(first["keypoints"])
    assert second["score"] == 0
    assert last["bbox"] == [30, 30, 0, 0]


def test_a_run_without_frames_or_people_is_valid(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    nothing = json.loads(write(tmp_path / "a", metadata, []).read_text())
    assert (nothing["images"], nothing["annotations"]) == ([], [])
    nobody = json.loads(write(tmp_path / "b", metadata, [make_tracks(5, 0)]).read_text())
    assert nobody["annotations"] == []
    assert nobody["images"] == [
        {"id": 5, "file_name": "000005.jpg", "width": 640, "height": 480, "time": pytest.approx(0.166833)}
    ]


def test_ids_of_annotations_count_from_one(written: Path) -> None:
    ids = [annotation["id"] for annotation in json.loads(written.read_text())["annotations"]]
    assert ids == list(range(1, len(ids) + 1))


def test_category_and_info_say_how_to_read_it(written: Path, metadata: RunMetadata) -> None:
    data = json.loads(written.read_text())
    (category,) = data["categories"]
    assert category["keypoints"] == list(metadata.keypoints) == list(COCO_17.keypoints)
    assert [15 + 1, 13 + 1] in category["skeleton"]
    assert {frozenset((a - 1, b - 1)) for a, b in category["skeleton"]} == {
        frozenset(link) for link in COCO_17.links
    }
    assert data["info"]["posetask"]["frames"] == 8
    assert data["info"]["posetask"]["pose"] == "rtmpose-t"


def test_names_that_are_no_text_do_not_break_the_file(tmp_path: Path, metadata: RunMetadata) -> None:
    odd = RunMetadata(**{**metadata.model_dump(), "source": 'a"\udcff\n.mp4'})
    assert json.loads(write(tmp_path / "a", odd, []).read_text())["info"]["posetask"]["source"] == 'a"?\n.mp4'


def test_other_skeletons_are_written_as_they_are(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    three = metadata.model_copy(update={"keypoints": ("a", "b", "c"), "links": ((0, 1),)})
    tracks = replace(make_tracks(0, 2, keypoints=3))
    data = json.loads(write(tmp_path / "a", three, [tracks]).read_text())
    assert [len(a["keypoints"]) for a in data["annotations"]] == [9, 9]
    assert data["categories"][0]["skeleton"] == [[1, 2]]
