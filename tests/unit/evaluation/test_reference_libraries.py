"""Our use of the libraries agrees with their own entry points, and with TrackEval's stored answers."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetask.evaluation import People, Predictions, Scores, Truth

CLIPS = json.loads((Path(__file__).parent / "trackeval_reference.json").read_text())["clips"]


@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_tracking_scores_are_those_of_trackeval(score: Callable[..., Scores], clip: int) -> None:
    truth, predictions = (np.array(CLIPS[clip][side]) for side in ("truth", "predictions"))
    scores = score(
        Truth({"tracks": People.of(truth[:, 0], truth[:, 2:], ids=truth[:, 1])}),
        Predictions({"tracks": People.of(predictions[:, 0], predictions[:, 2:], ids=predictions[:, 1])}),
    )
    assert scores.tracking is not None
    answer = scores.tracking.model_dump()
    for name in ("hota", "deta", "assa", "loca", "idf1", "mota", "motp"):
        assert answer[name] == pytest.approx(CLIPS[clip][name], abs=1e-12), name
    for name in ("switches", "missed", "false_alarms"):
        assert answer[name] == CLIPS[clip][name], name


def test_box_and_pose_scores_are_those_of_cocos_own_summary(
    compare: Callable[..., Scores], walk: People, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    n = len(walk)
    noisy = replace(
        walk,
        xywh=walk.xywh + rng.normal(0, 6, (n, 4)),
        keypoints=walk.keypoints + rng.normal(0, 3, (n, 17, 3)),
        scores=rng.permutation(n) / n,
    ).take(rng.random(n) < 0.9)
    stats = {}
    coco, evaluate = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    (tmp_path / "truth.json").write_text(json.dumps(_dataset(walk)))
    (tmp_path / "results.json").write_text(json.dumps(_dataset(noisy)["annotations"]))
    for kind in ("bbox", "keypoints"):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = coco.COCO(str(tmp_path / "truth.json"))
            results = json.loads((tmp_path / "results.json").read_text())
            if kind == "keypoints":
                results = [{k: v for k, v in row.items() if k != "bbox"} for row in results]
            run = evaluate.COCOeval(truth, truth.loadRes(results), kind)
            run.evaluate()
            run.accumulate()
            run.summarize()
        stats[kind] = run.stats
    scores = compare(walk, noisy)
    assert scores.detection is not None
    assert scores.pose is not None
    found, pose = scores.detection, scores.pose
    assert (found.ap, found.ap50, found.ap75, found.ar) == pytest.approx(stats["bbox"][[0, 1, 2, 8]])
    assert (pose.oks_ap, pose.oks_ap50, pose.oks_ap75, pose.oks_ar) == pytest.approx(
        stats["keypoints"][[0, 1, 2, 5]]
    )
    assert 0.1 < found.ap < 0.9
    assert 0.1 < pose.oks_ap < 0.9


def _dataset(people: People) -> dict[str, list[dict[str, object]]]:
    rows = range(len(people))
    return {
        "images": [{"id": frame} for frame in sorted(set(people.frames.tolist()))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(people.frames[row]),
                "category_id": 1,
                "bbox": people.xywh[row].tolist(),
                "area": float(people.areas[row]),
                "iscrowd": 0,
                "score": float(people.scores[row]),
                "keypoints": people.keypoints[row].ravel().tolist(),
                "num_keypoints": 17,
            }
            for row in rows
        ],
    }
