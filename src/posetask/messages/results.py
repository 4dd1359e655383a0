"""What the stages say of a frame: detections, poses, tracks. Arrays are float32 unless said otherwise.

Coordinates are pixels of the upright frame, x to the right and y down, the top-left corner of the
top-left pixel's square at (0, 0) for boxes, ``xyxy`` = left, top, right, bottom. Boxes may reach
outside the frame. Keypoints are in COCO-17 order unless the model's skeleton says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posetask.messages.frame import FrameHeader
from posetask.messages.skeleton import COCO_17

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

KEYPOINTS = len(COCO_17)


def _check(name: str, array: npt.NDArray[np.generic], shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} of shape {shape}, got {array.dtype} of {array.shape}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """People found in a frame, on ``yolox``; best first. Boxes down to a score of 0.1 for ByteTrack.

    Attributes:
        xyxy: ``(N, 4)``.
        scores: ``(N,)``, 0 to 1.
    """

    header: FrameHeader
    xyxy: Floats
    scores: Floats

    def __post_init__(self) -> None:
        n = len(self.scores)
        _check("scores", self.scores, (n,), np.float32)
        _check("xyxy", self.xyxy, (n, 4), np.float32)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls, header: FrameHeader) -> Detections:
        """No people; what a skipped or empty frame says."""
        return cls(header, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """The same people with keypoints, on ``rtmpose``. Rows answer to the rows of the detections.

    Attributes:
        xyxy: ``(N, 4)``, as detected.
        scores: ``(N,)``, as detected.
        keypoints: ``(N, K, 2)``; NaN in the rows of people whose pose was not estimated.
        keypoint_scores: ``(N, K)``, not probabilities: they can pass 1; 0 where not estimated.
    """

    header: FrameHeader
    xyxy: Floats
    scores: Floats
    keypoints: Floats
    keypoint_scores: Floats

    def __post_init__(self) -> None:
        n = len(self.scores)
        k = self.keypoints.shape[1] if self.keypoints.ndim == 3 else KEYPOINTS
        _check("scores", self.scores, (n,), np.float32)
        _check("xyxy", self.xyxy, (n, 4), np.float32)
        _check("keypoints", self.keypoints, (n, k, 2), np.float32)
        _check("keypoint_scores", self.keypoint_scores, (n, k), np.float32)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def without_keypoints(cls, detections: Detections, keypoints: int = KEYPOINTS) -> Poses:
        """All rows null: a frame in which nobody's pose was estimated."""
        n = len(detections)
        return cls(
            detections.header,
            detections.xyxy,
            detections.scores,
            np.full((n, keypoints, 2), np.nan, np.float32),
            np.zeros((n, keypoints), np.float32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The people that have an identity in this frame, on ``bytetrack``, in the tracker's own order.

    Attributes:
        ids: ``(M,)`` int32, from 1, unique within the run.
        xyxy: ``(M, 4)``, the tracker's (Kalman) box after its update.
        scores: ``(M,)``, of the matched detection.
        det_index: ``(M,)`` int32, row in the frame's detections, -1 in an interpolated frame.
        keypoints: ``(M, K, 2)``, of the matched detection; NaN where not estimated.
        keypoint_scores: ``(M, K)``.
        interpolated: True for a frame between two analysed ones.
    """

    header: FrameHeader
    ids: Ints
    xyxy: Floats
    scores: Floats
    det_index: Ints
    keypoints: Floats
    keypoint_scores: Floats
    interpolated: bool = False

    def __post_init__(self) -> None:
        m = len(self.ids)
        k = self.keypoints.shape[1] if self.keypoints.ndim == 3 else KEYPOINTS
        _check("ids", self.ids, (m,), np.int32)
        _check("xyxy", self.xyxy, (m, 4), np.float32)
        _check("scores", self.scores, (m,), np.float32)
        _check("det_index", self.det_index, (m,), np.int32)
        _check("keypoints", self.keypoints, (m, k, 2), np.float32)
        _check("keypoint_scores", self.keypoint_scores, (m, k), np.float32)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls, header: FrameHeader, keypoints: int = KEYPOINTS, *, interpolated: bool = False) -> Tracks:
        """Nobody tracked in this frame."""
        return cls(
            header,
            np.zeros(0, np.int32),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros((0, keypoints, 2), np.float32),
            np.zeros((0, keypoints), np.float32),
            interpolated,
        )
