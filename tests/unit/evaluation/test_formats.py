"""Reading truth and predictions from files."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posetask.errors import InputError, InvalidParameters, SourceNotFound
from posetask.evaluation import People, Scores, load_predictions, load_truth
from posetask.evaluation.files import Format, sniff

JOINTS = [value for joint in range(17) for value in (10.0 + joint, 20.0 + 2 * joint, 2)]


def person(image: int, identity: int | None = 1, **more: Any) -> dict[str, Any]:
    row = {"image_id": image, "category_id": 1, "bbox": [10, 20, 16, 32], "keypoints": JOINTS, "score": 0.9}
    return {**row, **({} if identity is None else {"track_id": identity}), **more}


def dataset(images: list[int], annotations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    people = {"id": 1, "name": "person"}
    return {
        "images": [{"id": image, "height": 240} for image in images],
        "categories": [people],
        "annotations": annotations,
        **more,
    }


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write text, bytes or JSON to a file."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


Put = Callable[[str, Any], Path]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("any.bin", b"PAR1....", Format.PARQUET),
        ("any.txt", '  {"images": []}', Format.COCO_DATASET),
        ("any.txt", "\ufeff[]", Format.COCO_RESULTS),
        ("any.json", "1,1,0,0,4,9\n", Format.MOT),
        ("nobody.txt", "\n", Format.MOT),
    ],
)
def test_the_format_is_told_by_the_content(put: Put, name: str, content: Any, wanted: Format) -> None:
    assert sniff(put(name, content)) is wanted


@pytest.mark.parametrize("content", [b"\x89PNG....", "frame,id\n1,1\n", ""])
def test_no_known_format_is_said_so(put: Put, content: Any) -> None:
    with pytest.raises(InputError, match="in no format that can be scored; give a COCO dataset"):
        sniff(put("file.json", content))


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"gone\.json is not a file"):
        load_truth(tmp_path / "gone.json")


def test_mot_truth_tells_who_counts(put: Put) -> None:
    rows = ["1,1,0,0,4,9,1,1,0.8", "1,2,9,0,4,9,0,1,1", "2,3,0,0,4,9,1,3,1", "2,4,0,0,4,9,1,8,1"]
    rows += ["3,5,0,0,4,9,1,-1,-1"]
    tracks = load_truth(put("gt.txt", "\n".join(rows) + "\n")).parts["tracks"]
    assert tracks.ids.tolist() == [1, 2, 4, 5]  # 3 is a car
    assert tracks.ignored.tolist() == [False, True, True, False]
    assert tracks.frames.tolist() == [0, 0, 1, 2]
    np.testing.assert_array_equal(tracks.visible, [0.8, 1, 1, np.nan])


def test_mot_predictions_may_lack_ids_scores_and_commas(put: Put) -> None:
    truth = load_truth(put("gt.txt", "1,1,0,0,4,9\n"))
    detections = load_predictions([put("det.txt", "1,-1,0,0,4,9,0.5\n2,-1,0,0,4,9,0.6\n")], truth)
    assert detections.parts["boxes"].scores.tolist() == [0.5, 0.6]
    assert detections.absent == {
        "poses": "there are no COCO-17 keypoints in the predictions",
        "tracks": "there are no track ids in the predictions",
    }
    tracks = load_predictions([put("res.txt", "1 7 0 0 4 9 -1 -1 -1 -1\n")], truth).parts["tracks"]
    assert (tracks.ids.tolist(), tracks.scores.tolist()) == ([7], [1.0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,1,0,0,4\n", "5 columns"),
        ("1,1,0,0,4,9\n1,2,0,0,4,9,1\n", "not MOT text"),
        ("1,one,0,0,4,9\n", "not MOT text"),
        ("0,1,0,0,4,9\n", "row 1: not a MOT row; rows are frame,id"),
        ("1,1,0,0,4,9\n2,1,nan,0,4,9\n", "row 2: not a MOT row"),
        ("1,1.5,0,0,4,9\n", "row 1: not a MOT row"),
        ("1,inf,0,0,4,9\n", "row 1: not a MOT row"),
        ("1,1e300,0,0,4,9\n", "row 1: not a MOT row"),
    ],
)
def test_bad_mot_rows_are_named(put: Put, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_truth(put("gt.txt", text))


def test_coco_truth_keeps_what_is_to_be_ignored(put: Put) -> None:
    annotations = [person(1), person(1, 2, ignore=1), person(2, None, iscrowd=1, keypoints=[0] * 51, area=50)]
    truth = load_truth(put("t.json", dataset([1, 2], annotations)))
    people = truth.parts["poses"]
    assert (people.ignored.tolist(), people.crowds.tolist()) == ([False, True, False], [False, False, True])
    assert people.has_pose.tolist() == [True, True, False]
    assert people.areas.tolist() == [16 * 32, 16 * 32, 50]
    assert truth.heights is not None
    assert truth.heights.tolist() == [240, 240]
    assert "tracks" in truth.parts  # the crowd needs no id


def test_coco_truth_without_ids_or_keypoints_says_so(put: Put) -> None:
    annotations = [person(0, None, keypoints=None), person(1, 4, keypoints=[0] * 51)]
    truth = load_truth(put("t.json", dataset([0, 1], annotations)))
    assert truth.absent == {
        "poses": "there are no COCO-17 keypoints in the truth",
        "tracks": "there are no track ids for everybody who counts in the truth",
    }


def test_only_people_are_read(put: Put) -> None:
    categories = [{"id": 3, "name": "dog"}, {"id": 5, "name": "person"}]
    annotations = [person(0, category_id=3), person(0, category_id=5)]
    truth = load_truth(put("t.json", dataset([0], annotations, categories=categories)))
    assert (len(truth.parts["boxes"]), truth.person) == (1, 5)
    assert len(load_predictions([put("p.json", [person(0, category_id=5)])], truth).parts["boxes"]) == 1
    with pytest.raises(InputError, match="no annotation of category 5"):
        load_predictions([put("p.json", [person(0, category_id=1)])], truth)
    with pytest.raises(InputError, match="no category 'person'"):
        load_truth(
            put("t.json", dataset([0], [], categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]))
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a COCO dataset: Invalid JSON"),
        ({"annotations": []}, "images: Field required"),
        (dataset([0], [person(0, bbox=[1, 2, 3])]), r"annotations\.0\.bbox"),
        (dataset([0], [person(0, 2**70)]), r"annotations\.0\.track_id"),
        (dataset([0], [person(4)]), "image 4, which is not among its images"),
        (dataset([0], [person(0, bbox=None)]), "without a bbox"),
        ([person(0)], "is COCO results, which can only be scored"),
    ],
)
def test_bad_coco_truth_is_explained(put: Put, content: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_truth(put("t.json", content))


@pytest.mark.parametrize(
    ("true_images", "images", "wanted"),
    [
        ([1, 2, 3], [0, 1, 2], [0, 1, 2]),  # one counts from 1, the other from 0
        ([0, 1, 2], [0, 1], [0, 1]),  # a shorter run
        ([139, 285, 300], [139, 300], [139, 300]),  # photographs
        ([1, 2, 3], [2, 3], [1, 2]),  # only the images with somebody
        ([1, 2], [1, 2, 3], [0, 1, 2]),  # a longer run
    ],
)
def test_images_are_matched_to_frames(
    put: Put, true_images: list[int], images: list[int], wanted: list[int]
) -> None:
    truth = load_truth(put("t.json", dataset(true_images, [person(i) for i in true_images])))
    predictions = load_predictions([put("p.json", dataset(images, [person(i) for i in images]))], truth)
    assert predictions.parts["boxes"].frames.tolist() == wanted


def test_results_go_by_image_id_and_strangers_fall_outside(put: Put) -> None:
    truth = load_truth(put("t.json", dataset([1, 2, 3], [person(1)])))
    people = load_predictions([put("p.json", [person(1), person(3), person(9)])], truth).parts["boxes"]
    assert truth.frames is not None
    assert people.frames.tolist()[:2] == [0, 2]
    assert people.frames[2] not in truth.frames
    from_zero = load_predictions([put("p.json", [person(0), person(2)])], truth).parts["boxes"]
    assert from_zero.frames.tolist() == [0, 2]


def test_mot_fills_in_what_coco_does_not_say(put: Put) -> None:
    coco = put(
        "t.json", dataset([0, 1], [person(0, 1), person(1, 1), person(1, 2, visibility=0.4, ignore=1)])
    )
    mot = put("gt.txt", "1,1,10,20,16,32,0,1,0.3\n2,1,10,20,16,32,1,1,0.9\n2,2,10,20,16,32,1,1,-1\n")
    truth = load_truth(coco, mot)
    assert truth.parts["boxes"].visible.tolist() == [0.3, 0.9, 0.4]
    assert truth.parts["boxes"].ignored.tolist() == [True, False, True]
    assert truth.parts["tracks"].visible.tolist() == [0.3, 0.9, 0.4]
    assert truth.parts["tracks"].ignored.tolist() == [True, False, True]


def test_the_truth_is_at_most_one_file_of_each_format(put: Put) -> None:
    mot = put("gt.txt", "1,1,0,0,4,9\n")
    for paths in ((), (mot, mot)):
        with pytest.raises(InvalidParameters, match="one truth in each format"):
            load_truth(*paths)


def test_no_predictions_are_refused(put: Put) -> None:
    with pytest.raises(InvalidParameters, match="name at least one file"):
        load_predictions([], load_truth(put("gt.txt", "1,1,0,0,4,9\n")))


def test_of_several_files_each_part_is_the_first_to_be_had(put: Put) -> None:
    truth = load_truth(put("t.json", dataset([0], [person(0)])))
    poses = put("p.json", [person(0, None, bbox=None)])
    boxes = put("p.txt", "1,-1,0,0,4,9,0.5\n")
    tracks = put("q.txt", "1,3,0,0,4,9,0.7\n")
    parts = load_predictions([poses, boxes, tracks], truth).parts
    assert parts["boxes"].scores.tolist() == [0.5]
    assert parts["poses"].scores.tolist() == [0.9]
    assert parts["tracks"].scores.tolist() == [0.7]


@pytest.mark.parametrize("content", ["[]", '{"images": [{"id": 0}], "annotations": []}'])
def test_a_file_in_which_nobody_is_found_has_all_parts(put: Put, content: str) -> None:
    truth = load_truth(put("t.json", dataset([0], [person(0)])))
    predictions = load_predictions([put("p.json", content)], truth)
    assert {part: len(people) for part, people in predictions.parts.items()} == {
        "boxes": 0,
        "poses": 0,
        "tracks": 0,
    }


@pytest.mark.parametrize("keypoints", [None, [], [0] * 51, [None] * 51, [float("nan")] * 51, JOINTS[:30]])
def test_no_keypoints_of_coco_are_no_pose(put: Put, keypoints: Any) -> None:
    truth = load_truth(put("t.json", dataset([0], [person(0)])))
    predictions = load_predictions([put("p.json", [person(0, keypoints=keypoints)])], truth)
    assert "poses" not in predictions.parts
    assert len(predictions.parts["boxes"]) == 1


def test_scores_must_be_numbers(put: Put) -> None:
    truth = load_truth(put("t.json", dataset([0], [person(0)])))
    with pytest.raises(InputError, match="scores that are no numbers"):
        load_predictions([put("p.json", [person(0, score=float("nan"))])], truth)


def parquet(path: Path, keypoints: int = 17, **replaced: Any) -> Path:
    lists = {4: pa.list_(pa.float32(), 4), keypoints * 3: pa.list_(pa.float32(), keypoints * 3)}
    columns = {
        "frame": pa.array([0, 1], pa.int32()),
        "track_id": pa.array([1, 1], pa.int32()),
        "score": pa.array([0.5, 0.75], pa.float32()),
        "bbox": pa.array([[1, 2, 5, 11], [2, 2, 6, 11]], lists[4]),
        "keypoints": pa.array(
            [JOINTS[: keypoints * 3], [float("nan")] * keypoints * 3], lists[keypoints * 3]
        ),
    }
    pq.write_table(pa.table({k: v for k, v in {**columns, **replaced}.items() if v is not None}), path)
    return path


def test_parquet_is_read_as_left_top_right_bottom(put: Put, tmp_path: Path) -> None:
    truth = load_truth(put("gt.txt", "1,1,0,0,4,9\n"))
    parts = load_predictions([parquet(tmp_path / "p.parquet")], truth).parts
    assert parts["boxes"].xywh.tolist() == [[1, 2, 4, 9], [2, 2, 4, 9]]
    assert parts["boxes"].scores.tolist() == [0.5, 0.75]
    assert parts["tracks"].ids.tolist() == [1, 1]
    assert parts["poses"].frames.tolist() == [0]
    assert parts["poses"].keypoints[0, 16].tolist() == [26, 52, 2]


def test_parquet_of_another_skeleton_still_has_boxes_and_tracks(put: Put, tmp_path: Path) -> None:
    truth = load_truth(put("gt.txt", "1,1,0,0,4,9\n"))
    for path in (
        parquet(tmp_path / "a.parquet", keypoints=5),
        parquet(tmp_path / "b.parquet", keypoints=17),
    ):
        parts = load_predictions([path], truth).parts
        assert ("poses" in parts) == (path.name == "b.parquet")
        assert len(parts["tracks"]) == 2


def test_bad_parquet_is_explained(put: Put, tmp_path: Path) -> None:
    truth = load_truth(put("gt.txt", "1,1,0,0,4,9\n"))
    with pytest.raises(InputError, match="no column track_id, bbox"):
        load_predictions([parquet(tmp_path / "p.parquet", track_id=None, bbox=None)], truth)
    with pytest.raises(InputError, match="is not the Parquet of posetask run"):
        load_predictions([put("p.parquet", b"PAR1 and no more")], truth)
    words = pa.array(["a", "b"])
    with pytest.raises(InputError, match="is not the Parquet of posetask run"):
        load_predictions([parquet(tmp_path / "p.parquet", bbox=words)], truth)


@pytest.mark.parametrize("kind", ["coco", "mot", "parquet"])
def test_the_worlds_truth_and_the_runs_exports_are_understood(
    score: Callable[..., Scores], walk: People, tmp_path: Path, kind: str
) -> None:
    from posetask.exports import RunMetadata, open_writers
    from posetask.messages import FrameHeader, Tracks
    from posetask.synth.spec import WorldSpec
    from posetask.synth.truth import Truth as WorldTruth
    from posetask.synth.truthfiles import write_coco, write_mot

    xyxy = np.concatenate([walk.xywh[:, :2], walk.xywh[:, :2] + walk.xywh[:, 2:]], 1).astype(np.float32)
    joints = walk.keypoints.astype(np.float32)
    visible = np.where(walk.ids == 3, 0.05, 1).astype(np.float32)  # the third is hidden: not asked for
    truths = []
    metadata = RunMetadata(source="walk.mp4", width=640, height=480)
    with open_writers(tmp_path / "run", [kind], metadata) as writers:
        for frame in range(10):
            rows = np.flatnonzero(walk.frames == frame)
            ids = walk.ids[rows].astype(np.int32)
            areas = walk.areas[rows].astype(np.float32)
            truths.append(WorldTruth(frame, ids, xyxy[rows], xyxy[rows], joints[rows], visible[rows], areas))
            writers.write(
                Tracks(
                    FrameHeader(
                        run="r", index=frame, pts=frame, time_base=Fraction(1, 10), width=640, height=480
                    ),
                    ids,
                    xyxy[rows],
                    np.full(len(rows), 0.9, np.float32),
                    np.arange(len(rows), dtype=np.int32),
                    joints[rows, :, :2],
                    np.full((len(rows), 17), 0.8, np.float32),
                )
            )
        files = writers.close()
    write_coco(tmp_path / "t.json", WorldSpec(width=640, height=480, frames=10), truths)
    write_mot(tmp_path / "gt.txt", truths)
    for paths in ([tmp_path / "t.json"], [tmp_path / "gt.txt"], [tmp_path / "t.json", tmp_path / "gt.txt"]):
        truth = load_truth(*paths)
        scores = score(truth, load_predictions([files[kind]], truth))
        assert scores.detection is not None
        assert scores.tracking is not None
        assert (scores.people, scores.ignored) == (20, 10)
        got = (scores.detection.ap, scores.tracking.mota, scores.tracking.idf1, scores.tracking.hota)
        assert got == pytest.approx((1, 1, 1, 1), abs=1e-6)
        assert (scores.pose is None) == (kind == "mot" or paths == [tmp_path / "gt.txt"])
        assert scores.pose is None or scores.pose.oks_ap == pytest.approx(1)


def test_poses_are_ranked_by_person_times_keypoints_and_boxes_by_the_person_alone(tmp_path: Path) -> None:
    joints = [1.0, 2.0, 2.0] * 17
    person = {"category_id": 1, "bbox": [0, 0, 10, 20], "score": 0.5, "keypoints": joints}
    truth = {"images": [{"id": 0}, {"id": 1}], "annotations": [{**person, "image_id": 0, "area": 200.0}]}
    ours = {
        **truth,
        "annotations": [
            {**person, "image_id": 0, "keypoint_scores": [0.4] * 16 + [0.0]},
            {**person, "image_id": 1},
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "ours.json").write_text(json.dumps(ours))
    read = load_predictions([tmp_path / "ours.json"], load_truth(tmp_path / "truth.json"))
    assert read.parts["poses"].scores.tolist() == pytest.approx([0.2, 0.5])
    assert read.parts["boxes"].scores.tolist() == [0.5, 0.5]
