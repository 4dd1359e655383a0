"""Greedy non-maximum suppression, vectorised.

IoU is exact: areas are width times height. YOLOX's numpy demo adds a pixel to every side (an integer
grid's convention), its evaluation (torchvision) does not; without it the result does not depend on the
scale of the coordinates. A box goes when its IoU with a better kept one is greater than the threshold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_BLOCK = 256


def nms(xyxy: Doubles, threshold: float, limit: int | None = None) -> npt.NDArray[np.intp]:
    """Find which boxes stay.

    Args:
        xyxy: ``(N, 4)``, best first.
        threshold: IoU above which the worse of two goes.
        limit: At most so many stay.

    Returns:
        Their rows, best first.

    >>> nms(np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10.0]]), 0.45).tolist()
    [0, 2]
    """
    kept: list[int] = []
    # In blocks: the matrix stays small however many boxes there are, and most frames need one block.
    for start in range(0, len(xyxy), _BLOCK):
        block = xyxy[start : start + _BLOCK]
        alive = np.ones(len(block), bool)
        if kept:
            alive &= ~_clash(xyxy[kept], block, threshold).any(axis=0)
        clash = _clash(block, block, threshold)
        while alive.any():
            best = int(alive.argmax())
            kept.append(start + best)
            if limit is not None and len(kept) >= limit:
                return np.array(kept, np.intp)
            alive &= ~clash[best]
            alive[best] = False  # a box without area does not clash with itself
    return np.array(kept, np.intp)


def _clash(a: Doubles, b: Doubles, threshold: float) -> npt.NDArray[np.bool_]:
    """Tell which boxes of ``a`` ``(N, 4)`` overlap which of ``b`` ``(M, 4)`` too much: ``(N, M)``.

    Column by column, in place and without a division (intersection > threshold * union): a quarter of
    the time of the same on ``(N, M, 2)`` arrays.
    """
    left, top, right, bottom = np.ascontiguousarray(a.T)[:, :, None]
    left_b, top_b, right_b, bottom_b = np.ascontiguousarray(b.T)[:, None, :]
    both = np.minimum(right, right_b)
    both -= np.maximum(left, left_b)
    height = np.minimum(bottom, bottom_b)
    height -= np.maximum(top, top_b)
    np.maximum(both, 0, out=both)
    np.maximum(height, 0, out=height)
    both *= height
    either = (right - left) * (bottom - top) + (right_b - left_b) * (bottom_b - top_b)
    either -= both
    either *= threshold
    clash: npt.NDArray[np.bool_] = both > either
    return clash
