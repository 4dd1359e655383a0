"""Score predictions against truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from posetask.errors import InvalidParameters
from posetask.evaluation.coco_metrics import CocoResult, evaluate_coco
from posetask.evaluation.overlap import pair_frames
from posetask.evaluation.people import Ids, Numbers, People
from posetask.evaluation.scores import (
    Curve,
    DetectionScores,
    Missing,
    PoseScores,
    ScoreOptions,
    Scores,
    TrackingScores,
)
from posetask.evaluation.sides import PARTS, Part, Predictions, Truth
from posetask.evaluation.tracking import score_tracks

METRICS: dict[Part, tuple[str, ...]] = {
    "boxes": ("AP", "AP50", "precision", "recall"),
    "poses": ("OKS-AP",),
    "tracks": ("MOTA", "IDF1", "HOTA"),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    truth: People
    predictions: People
    frames: Ids
    left_out: int


def score(truth: Truth, predictions: Predictions, options: ScoreOptions | None = None) -> Scores:
    """Score what both sides speak of: boxes, poses, tracks.

    The order of the rows does not matter. Nothing is read or written.

    Args:
        truth: See ``load_truth``.
        predictions: See ``load_predictions``.
        options: What counts; everybody by default.

    Returns:
        The scores; what could not be computed is None and stands in ``missing`` with the reason.

    Raises:
        InvalidParameters: People are to be ignored by height, but the frames' heights are not known.
        InputError: An id occurs twice in a frame.
        NotAvailable: The libraries of the ``eval`` extra are not installed.
    """
    options = options or ScoreOptions()
    found: dict[Part, _Match] = {}
    missing: list[Missing] = []
    for part in PARTS:
        match = _match(part, truth, predictions, options)
        if isinstance(match, str):
            missing.append(Missing(part=part, metrics=METRICS[part], reason=match))
        else:
            found[part] = match
    tables = [mark_ignored(truth, table, options) for table in truth.parts.values()]
    widest = max(tables, key=len, default=People.of([], np.zeros((0, 4))))
    frames = truth.frames if truth.frames is not None else _all_frames(*tables)
    return Scores(
        options=options,
        frames=len(frames),
        people=int((~widest.ignored).sum()),
        ignored=int(widest.ignored.sum()),
        left_out=max((match.left_out for match in found.values()), default=0),
        detection=_boxes(found["boxes"], options) if "boxes" in found else None,
        pose=_poses(found["poses"]) if "poses" in found else None,
        tracking=_tracks(found["tracks"], options) if "tracks" in found else None,
        missing=tuple(missing),
    )


def mark_ignored(truth: Truth, people: People, options: ScoreOptions) -> People:
    """Mark people ignored whom the options leave out; crowds are always ignored.

    Raises:
        InvalidParameters: The height of a frame is needed and not known.
    """
    ignored = people.ignored | people.crowds
    if options.min_visible > 0:
        flags = people.keypoints[:, :, 2]
        seen = np.where(people.has_pose, (flags == 2).mean(axis=1), 1.0)
        visible = np.where(np.isfinite(people.visible), people.visible, seen)
        ignored |= visible < options.min_visible - 1e-9
    if options.min_height > 0:
        heights = _heights(truth, people.frames)
        heights = np.where(np.isfinite(heights), heights, options.frame_height or np.nan)
        if not np.isfinite(heights).all():
            raise InvalidParameters(
                "people are to be ignored by height, but the truth does not say how high its frames are",
                hint="give the COCO truth, whose images have a height, or --frame-height",
            )
        ignored |= people.xywh[:, 3] < options.min_height * heights - 1e-6
    return replace(people, ignored=ignored)


def _heights(truth: Truth, frames: Ids) -> Numbers:
    heights = np.full(len(frames), np.nan)
    if truth.frames is not None and truth.heights is not None and len(truth.frames):
        at = np.minimum(np.searchsorted(truth.frames, frames), len(truth.frames) - 1)
        known = truth.frames[at] == frames
        heights[known] = truth.heights[at[known]]
    return heights


def _match(part: Part, truth: Truth, predictions: Predictions, options: ScoreOptions) -> _Match | str:
    if part not in truth.parts:
        return truth.absent.get(part, f"there are no {part} in the truth")
    if part not in predictions.parts:
        return predictions.absent.get(part, f"there are no {part} in the predictions")
    people, predicted = mark_ignored(truth, truth.parts[part], options), predictions.parts[part]
    if truth.frames is not None:
        people = people.take(np.isin(people.frames, truth.frames))
    counted = ~people.ignored
    if part == "poses":
        counted &= (np.nan_to_num(people.keypoints[:, :, 2]) > 0).any(axis=1)
    if not counted.any():
        return (
            f"nobody in the truth counts ({len(people)} are ignored)"
            if len(people)
            else "there is nobody in the truth"
        )
    frames = truth.frames if truth.frames is not None else _all_frames(people, predicted)
    inside = np.isin(predicted.frames, frames)
    return _Match(people, predicted.take(inside), frames, int((~inside).sum()))


def _all_frames(*tables: People) -> Ids:
    return np.unique(np.concatenate([table.frames for table in tables])) if tables else np.zeros(0, np.int64)


def _boxes(match: _Match, options: ScoreOptions) -> DetectionScores:
    result = evaluate_coco("bbox", match.truth, match.predictions, match.frames, options.score_threshold)
    said = result.found + result.false_alarms
    return DetectionScores(
        ap=result.precision.mean(),
        ap50=result.precision[0].mean(),
        ap75=result.precision[5].mean(),
        ar=result.recall.mean(),
        precision=result.found / said if said else None,
        recall=result.found / (result.found + result.missed),
        found=result.found,
        false_alarms=result.false_alarms,
        missed=result.missed,
        curves=_curves(result),
    )


def _poses(match: _Match) -> PoseScores:
    result = evaluate_coco("keypoints", match.truth, match.predictions, match.frames, 0.0)
    return PoseScores(
        oks_ap=result.precision.mean(),
        oks_ap50=result.precision[0].mean(),
        oks_ap75=result.precision[5].mean(),
        oks_ar=result.recall.mean(),
        curves=_curves(result),
    )


def _curves(result: CocoResult) -> tuple[Curve, ...]:
    return tuple(
        Curve(threshold=round(float(t), 2), ap=row.mean(), precision=tuple(row.tolist()))
        for t, row in zip(result.thresholds, result.precision, strict=True)
    )


def _tracks(match: _Match, options: ScoreOptions) -> TrackingScores:
    return score_tracks(
        list(pair_frames(match.truth, match.predictions, options.match_iou)), options.match_iou
    )
