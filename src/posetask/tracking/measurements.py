"""One frame's detections as the tracker works with them, checked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posetask.errors import InvalidParameters
from posetask.tracking.iou import Corners

COORDINATE_LIMIT = 1e7
MINIMUM_HEIGHT = 1e-3


class Measurements(NamedTuple):
    """Detections of one frame; the sizes were worked out in the input's type, all else is float64.

    Attributes:
        corners: ``(4, N)`` float64 left, top, right, bottom.
        xyah: ``(4, N)`` float64 centre x, centre y, width / height, height; without meaning where not usable.
        scores: ``(N,)`` of the input's type.
        usable: ``(N,)`` bool: the box has a height and is not inside out.
    """

    corners: Corners
    xyah: npt.NDArray[np.float64]
    scores: npt.NDArray[np.floating]
    usable: npt.NDArray[np.bool_]


def usable_sizes(width: npt.NDArray[np.floating], height: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Which boxes can be tracked: the aspect w/h of one without a height is no number."""
    return (width >= 0) & (height >= MINIMUM_HEIGHT)


def measure(xyxy: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> Measurements:
    """Check and convert a frame's detections.

    Args:
        xyxy: ``(N, 4)``, float32 or float64 (integers are taken as float64).
        scores: ``(N,)``.

    Raises:
        InvalidParameters: Shapes do not fit, the type is no number, a value is not finite, or a
            coordinate or score is beyond +-1e7.
    """
    xyxy, scores = np.asarray(xyxy), np.asarray(scores)
    if scores.ndim != 1 or xyxy.shape != (len(scores), 4):
        raise InvalidParameters(
            f"boxes of shape {xyxy.shape} do not fit scores of shape {scores.shape}",
            hint="give xyxy as (N, 4) and scores as (N,); (0, 4) and (0,) on an empty frame",
        )
    dtype = _common_type(xyxy.dtype, scores.dtype)
    boxes = np.ascontiguousarray(xyxy.T, dtype)
    scores = scores.astype(dtype)
    for name, values in (("xyxy", boxes), ("scores", scores)):
        # written so that NaN fails too
        if values.size and not np.abs(values).max() <= COORDINATE_LIMIT:
            bad = ~(np.abs(values) <= COORDINATE_LIMIT)
            row = int(np.flatnonzero(bad.any(axis=0) if bad.ndim == 2 else bad)[0])
            raise InvalidParameters(
                f"{name} of detection {row} holds {values[..., row].tolist()}",
                hint="detections need finite numbers within 1e7; drop such rows before tracking",
            )
    size = boxes[2:] - boxes[:2]
    usable = usable_sizes(size[0], size[1])
    left_top = boxes[:2].astype(np.float64)
    width_height = size.astype(np.float64)
    if not usable.all():
        width_height[:, ~usable] = 1.0
    corners, xyah = np.empty((4, len(scores))), np.empty((4, len(scores)))
    corners[:2] = left_top
    np.add(left_top, width_height, out=corners[2:])
    np.add(left_top, width_height / 2, out=xyah[:2])
    np.divide(width_height[0], width_height[1], out=xyah[2])
    xyah[3] = width_height[1]
    return Measurements(corners, xyah, scores, usable)


def _common_type(boxes: np.dtype[np.generic], scores: np.dtype[np.generic]) -> np.dtype[np.floating]:
    if boxes.kind not in "iuf" or scores.kind not in "iuf":
        raise InvalidParameters(
            f"detections of type {boxes} and scores of type {scores} are no numbers",
            hint="give float32 or float64",
        )
    single = np.result_type(boxes, scores, np.float32) == np.float32
    return np.dtype(np.float32) if single else np.dtype(np.float64)
