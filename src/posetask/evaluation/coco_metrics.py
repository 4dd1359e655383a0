"""AP over boxes or keypoints, by pycocotools.

The definition is COCO's (https://cocodataset.org/#detection-eval and #keypoints-eval); everything that
matches, ranks and integrates is the library's.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from posetask.evaluation.libraries import library
from posetask.evaluation.people import JOINTS, Ids, Numbers, People

COCO_LIMITS = {"bbox": 100, "keypoints": 20}


@dataclass(frozen=True, slots=True, eq=False)
class CocoResult:
    """What COCO's evaluation accumulates for one class and all sizes.

    Attributes:
        thresholds: ``(10,)``, IoU or OKS 0.50, 0.55, ... 0.95.
        precision: ``(10, 101)``, at the recalls 0, 0.01, ... 1.
        recall: ``(10,)``, the highest.
        found: Counts at threshold 0.5 of people at or above the score asked for; ``false_alarms`` and
            ``missed`` likewise.
    """

    thresholds: Numbers
    precision: Numbers
    recall: Numbers
    found: int
    false_alarms: int
    missed: int


def evaluate_coco(
    kind: Literal["bbox", "keypoints"], truth: People, predictions: People, frames: Ids, min_score: float
) -> CocoResult:
    """Score predictions against truth that has at least one person who counts.

    COCO looks at the best 100 boxes and 20 poses of an image; where the truth has more people in a
    frame than that, the limit is their number.

    Args:
        kind: What to compare.
        truth: With ``ignored`` and ``crowds`` set.
        predictions: Rows with a box, or with a pose, each.
        frames: The frames to look at; both sides lie within them.
        min_score: For the three counts alone.

    Raises:
        NotAvailable: pycocotools is missing.
    """
    coco = library("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        true = _dataset(coco.COCO(), truth.ordered(), frames)
        predicted = _dataset(coco.COCO(), predictions.ordered(), frames)
        evaluation = _evaluator(true, predicted, kind)
        crowd = np.unique(truth.frames, return_counts=True)[1].max(initial=0)
        evaluation.params.maxDets = [max(COCO_LIMITS[kind], int(crowd))]
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
        evaluation.accumulate()
    found = false_alarms = people = 0
    for image in filter(None, evaluation.evalImgs):
        counts = ~image["dtIgnore"][0] & (np.asarray(image["dtScores"]) >= min_score)
        matched = image["dtMatches"][0] > 0
        found += int((counts & matched).sum())
        false_alarms += int((counts & ~matched).sum())
        people += int((np.asarray(image["gtIgnore"]) == 0).sum())
    return CocoResult(
        thresholds=np.asarray(evaluation.params.iouThrs, np.float64),
        precision=np.clip(evaluation.eval["precision"][:, :, 0, 0, 0], 0, 1),
        recall=np.clip(evaluation.eval["recall"][:, 0, 0, 0], 0, 1),
        found=found,
        false_alarms=false_alarms,
        missed=people - found,
    )


def _evaluator(truth: Any, predictions: Any, kind: str) -> Any:
    """COCOeval that also ignores people who are no crowd; by itself it ignores crowds alone."""
    evaluation = library("pycocotools.cocoeval").COCOeval(truth, predictions, iouType=kind)
    prepare = evaluation._prepare

    def prepare_and_ignore() -> None:
        prepare()
        for people in evaluation._gts.values():
            for person in people:
                person["ignore"] = int(person["ignore"] or person["ignored"])

    evaluation._prepare = prepare_and_ignore
    return evaluation


def _dataset(coco: Any, people: People, frames: Ids) -> Any:
    unknown = ~np.isfinite(people.keypoints).all(axis=2, keepdims=True)
    labelled = np.where(unknown, 0.0, people.keypoints)  # as COCO writes what is not there
    coco.dataset = {
        "images": [{"id": frame} for frame in frames.tolist()],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": row + 1,  # 0 would read as not matched
                "image_id": frame,
                "category_id": 1,
                "bbox": box,
                "area": area,
                "score": score,
                "iscrowd": int(crowd),
                "ignored": ignored,
                "keypoints": keypoints,
                "num_keypoints": joints,
            }
            for row, (frame, box, area, score, crowd, ignored, keypoints, joints) in enumerate(
                zip(
                    people.frames.tolist(),
                    people.xywh.tolist(),
                    people.areas.tolist(),
                    people.scores.tolist(),
                    people.crowds.tolist(),
                    people.ignored.tolist(),
                    labelled.reshape(len(people), JOINTS * 3).tolist(),
                    np.count_nonzero(labelled[:, :, 2] > 0, axis=1).tolist(),
                    strict=True,
                )
            )
        ],
    }
    coco.createIndex()
    return coco
