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


def iou_matrix(a: Doubles, b: Doubles) -> Doubles:
    """IoU of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``, xyxy: ``(N, M)``.

    >>> iou_matrix(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]])).round(3).tolist()
    [[0.333]]
    """
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(right_bottom - left_top, 0.0)
    both = sides[..., 0] * sides[..., 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    either = area_a[:, None] + area_b[None, :] - both
    iou: Doubles = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return iou


def nms(xyxy: Doubles, threshold: float, limit: int | None = None) -> npt.NDArray[np.intp]:
    """Which boxes stay.

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
            alive &= ~(iou_matrix(xyxy[kept], block) > threshold).any(axis=0)
        clash = iou_matrix(block, block) > threshold
        for i in range(len(block)):
            if not alive[i]:
                continue
            kept.append(start + i)
            if limit is not None and len(kept) >= limit:
                return np.array(kept, np.intp)
            alive &= ~clash[i]
    return np.array(kept, np.intp)
