"""What ``posetask eval`` answers, as typed, serialisable models."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from posetask.evaluation.sides import Part

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class ScoreOptions(_Model):
    """What counts, and how.

    Attributes:
        min_height: People lower than this share of the frame's height are ignored.
        min_visible: People of whom less than this share is in view are ignored. Where the truth does
            not say how much is, the share of the 17 keypoints that are flagged visible stands for it.
        score_threshold: Precision and recall count the predicted people at or above this score. AP and
            the tracking metrics always take them all.
        match_iou: Overlap at which a tracked box matches a true one (MOTA, IDF1).
        frame_height: Pixels, of frames whose height the truth does not say.
    """

    min_height: Share = 0.0
    min_visible: Share = 0.0
    score_threshold: float = 0.0
    match_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    frame_height: Annotated[float, Field(gt=0)] | None = None

    @classmethod
    def easy(cls) -> ScoreOptions:
        """People of at least 1/6 of the frame's height who are at least 0.7 in view; others are ignored."""
        return cls(min_height=1 / 6, min_visible=0.7)


class Curve(_Model):
    """Precision at the recalls 0, 0.01, ... 1 for one threshold of overlap (IoU or OKS)."""

    threshold: Share
    ap: Share
    precision: tuple[Share, ...]


class DetectionScores(_Model):
    """Of the boxes, by pycocotools; AP is the mean over IoU 0.50, 0.55, ... 0.95.

    Attributes:
        ap: Average precision; ``ap50`` and ``ap75`` at one IoU.
        ar: Average of the highest recall over the same thresholds.
        precision: Of the people at or above the score threshold, at IoU 0.5; None if there are none.
        recall: Likewise.
        found: People matched; ``false_alarms`` matched nobody, ``missed`` were matched by none.
        curves: One for each IoU threshold.
    """

    ap: Share
    ap50: Share
    ap75: Share
    ar: Share
    precision: Share | None
    recall: Share
    found: Count
    false_alarms: Count
    missed: Count
    curves: tuple[Curve, ...]


class PoseScores(_Model):
    """Of the keypoints, by pycocotools with COCO's 17 sigmas; as for the boxes, with OKS for IoU."""

    oks_ap: Share
    oks_ap50: Share
    oks_ap75: Share
    oks_ar: Share
    curves: tuple[Curve, ...]


class Span(_Model):
    """A true person over consecutive frames (``first`` to ``last``) under one predicted id; None = missed."""

    truth_id: int
    first: int
    last: int
    predicted_id: int | None


class Switch(_Model):
    """A true person's predicted id changed in this frame."""

    frame: int
    truth_id: int
    before: int
    after: int


class HotaCurve(_Model):
    """HOTA and its parts over the localisation thresholds alpha = 0.05, 0.10, ... 0.95."""

    alpha: tuple[Share, ...]
    hota: tuple[Share, ...]
    deta: tuple[Share, ...]
    assa: tuple[Share, ...]


class TrackingScores(_Model):
    """Of the tracks: CLEAR-MOT and identity metrics by motmetrics, HOTA by motrics.

    Attributes:
        mota: 1 - (misses + false alarms + switches) / true boxes; can be negative.
        motp: Mean IoU of the matched boxes; None if nothing matched.
        idf1: ``idp`` and ``idr`` are its precision and recall; ``idp`` is None without predictions.
        hota: ``deta``, ``assa`` and ``loca`` are its detection, association and localisation parts.
        switches: Times that a true person's predicted id changed.
        fragmentations: Times that a true person was lost and found again.
        mostly_tracked: True people found in at least 80 % of their frames; ``mostly_lost`` in under 20 %.
        truth_ids: Number of true people; ``predicted_ids`` of predicted ones.
        spans: What became of every true person, in order of id and frame.
        alarms: ``(frame, number of false alarms)`` where there are any.
    """

    mota: Annotated[float, Field(le=1)]
    motp: Share | None
    idf1: Share
    idp: Share | None
    idr: Share
    hota: Share
    deta: Share
    assa: Share
    loca: Share
    switches: Count
    fragmentations: Count
    false_alarms: Count
    missed: Count
    mostly_tracked: Count
    partially_tracked: Count
    mostly_lost: Count
    truth_ids: Count
    predicted_ids: Count
    curve: HotaCurve
    spans: tuple[Span, ...]
    switched: tuple[Switch, ...]
    alarms: tuple[tuple[int, int], ...]


class Missing(_Model):
    """Metrics that could not be computed, and why."""

    part: Part
    metrics: tuple[str, ...]
    reason: str


class Scores(_Model):
    """All that could be scored; what could not is None and stands in ``missing`` with the reason.

    Attributes:
        frames: Frames of the truth; where it does not list them, frames with anybody in them.
        people: True people that count, over all frames; ``ignored`` do not.
        left_out: Predicted people in frames that the truth does not cover.
    """

    options: ScoreOptions
    frames: Count
    people: Count
    ignored: Count
    left_out: Count
    detection: DetectionScores | None = None
    pose: PoseScores | None = None
    tracking: TrackingScores | None = None
    missing: tuple[Missing, ...] = ()
