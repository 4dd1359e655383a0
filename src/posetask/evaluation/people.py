"""People in frames, as columns: what truth and predictions of every format are read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from posetask.messages import COCO_17

Numbers = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

JOINTS = len(COCO_17)
NO_ID = -1


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """One row for each person in each frame. Pixels of the upright frame, x to the right, y down.

    Attributes:
        frames: ``(N,)``, frame index from 0.
        xywh: ``(N, 4)``, left, top, width, height; NaN where the file gives no box.
        scores: ``(N,)``, of the person; 1 in the truth.
        sure: ``(N,)``, in predictions the mean score of the pose's keypoints; NaN where the file gives none.
        ids: ``(N,)``, identity in the clip; -1 for none.
        keypoints: ``(N, 17, 3)`` in COCO-17 order: x, y, and in the truth the flag 0 (not labelled),
            1 (hidden) or 2 (visible), in predictions the score; NaN where there is none.
        areas: ``(N,)``, square pixels; the scale of OKS. The box's area where the file gives none.
        visible: ``(N,)``, share of the person that is in view, 0 to 1; NaN where it is not known.
        ignored: ``(N,)``, neither a hit nor a miss; a prediction matched to one does not count.
        crowds: ``(N,)``, a region with people in it rather than a person; it absorbs any number.
    """

    frames: Ids
    xywh: Numbers
    scores: Numbers
    ids: Ids
    keypoints: Numbers
    areas: Numbers
    visible: Numbers
    ignored: Flags
    crowds: Flags
    sure: Numbers

    def __post_init__(self) -> None:
        n = len(self.frames)
        shapes = {"xywh": (n, 4), "keypoints": (n, JOINTS, 3)}
        for column in fields(self):
            shape, wanted = getattr(self, column.name).shape, shapes.get(column.name, (n,))
            if shape != wanted:
                raise ValueError(f"{column.name}: expected the shape {wanted}, got {shape}")

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def of(
        cls,
        frames: npt.ArrayLike,
        xywh: npt.ArrayLike,
        *,
        scores: npt.ArrayLike | None = None,
        ids: npt.ArrayLike | None = None,
        keypoints: npt.ArrayLike | None = None,
        areas: npt.ArrayLike | None = None,
        visible: npt.ArrayLike | None = None,
        ignored: npt.ArrayLike | None = None,
        crowds: npt.ArrayLike | None = None,
        sure: npt.ArrayLike | None = None,
    ) -> People:
        """Build the columns from anything array-like; what is left out takes its neutral value.

        >>> people = People.of([0, 1], [[0, 0, 4, 9], [1, 0, 4, 9]], ids=[7, 7])
        >>> len(people), people.areas.tolist(), people.has_id.tolist()
        (2, [36.0, 36.0], [True, True])
        """
        at = np.asarray(frames, np.int64).reshape(-1)
        n = len(at)
        boxes = np.asarray(xywh, np.float64).reshape(n, 4)

        def column(values: npt.ArrayLike | None, default: float) -> Numbers:
            return np.full(n, default) if values is None else np.asarray(values, np.float64).reshape(n)

        area = boxes[:, 2] * boxes[:, 3]
        given = column(areas, np.nan)
        joints = np.full((n, JOINTS, 3), np.nan) if keypoints is None else np.asarray(keypoints, np.float64)
        return cls(
            frames=at,
            xywh=boxes,
            scores=column(scores, 1.0),
            ids=np.full(n, NO_ID) if ids is None else np.asarray(ids, np.int64).reshape(n),
            keypoints=joints.reshape(n, JOINTS, 3),
            areas=np.where(np.isfinite(given), given, area),
            visible=column(visible, np.nan),
            ignored=column(ignored, 0.0) != 0,
            crowds=column(crowds, 0.0) != 0,
            sure=column(sure, np.nan),
        )

    @classmethod
    def concatenate(cls, tables: Sequence[People]) -> People:
        """Stack the rows of all, in order."""
        return cls(**{c.name: np.concatenate([getattr(t, c.name) for t in tables]) for c in fields(cls)})

    def take(self, rows: npt.NDArray[np.intp] | Flags) -> People:
        """Pick the rows at the given indices, or where a mask of ``(N,)`` is true."""
        return People(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def ranked_as_poses(self) -> People:
        """Score each person by how sure the detector is, times how sure the estimator is on average.

        So MMPose ranks poses for OKS-AP. Where a file gives no scores of keypoints, its own ranking stays.
        """
        return replace(self, scores=self.scores * np.where(np.isfinite(self.sure), self.sure, 1.0))

    def ordered(self) -> People:
        """Sort the rows by their contents alone: by frame, then best first.

        The libraries break ties between equal scores by position, so this makes the figures
        independent of the order of the rows in a file.
        """
        joints = np.nan_to_num(self.keypoints.reshape(len(self), JOINTS * 3), nan=-1.0)
        keys = [*joints.T[::-1], self.areas, *self.xywh.T[::-1], self.ids, -self.scores, self.frames]
        return self.take(np.lexsort(keys))

    @property
    def has_boxes(self) -> Flags:
        """``(N,)``: the rows with a box."""
        return np.asarray(np.isfinite(self.xywh).all(axis=1), np.bool_)

    @property
    def has_pose(self) -> Flags:
        """``(N,)``: the rows with a pose, be it of some keypoints only."""
        return np.asarray(np.isfinite(self.keypoints[:, :, :2].sum(axis=2)).sum(axis=1) > 0, np.bool_)

    @property
    def has_id(self) -> Flags:
        """``(N,)``: the rows with an identity."""
        return np.asarray(self.ids != NO_ID, np.bool_)


def mean_score(keypoint_scores: Numbers) -> Numbers:
    """Mean over the keypoints that are there: ``(N, K)`` to ``(N,)``; 0 or NaN is not there, NaN for none.

    >>> mean_score(np.array([[0.5, 0.0, 0.7], [0.0, 0.0, 0.0]])).tolist()
    [0.6, nan]
    """
    there = keypoint_scores > 0
    count = there.sum(axis=1)
    total = np.where(there, keypoint_scores, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
