"""Which boxes of two sets overlap, and how much. Only pairs that touch are worked out.

Areas are those of the published ByteTrack, whose IoU counts pixels inclusively: a box from 10 to 20 is
11 wide. So boxes up to one pixel apart still touch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Corners = npt.NDArray[np.float64]
"""``(4, N)``: left, top, right, bottom in pixels."""
Indices = npt.NDArray[np.intp]


class Overlaps(NamedTuple):
    """Pairs of touching boxes, by row and then by column.

    Attributes:
        rows: ``(E,)``, index into the first set.
        columns: ``(E,)``, index into the second.
        iou: ``(E,)`` float64, above 0; every other pair's is 0.
    """

    rows: Indices
    columns: Indices
    iou: npt.NDArray[np.float64]


def where(mask: npt.NDArray[np.bool_]) -> Indices:
    """Find what is True in a 1-D mask: ``np.flatnonzero`` without its three layers of calls."""
    found: Indices = mask.nonzero()[0]
    return found


def corners(tlwh: npt.NDArray[np.float64]) -> Corners:
    """``(4, N)`` left, top, width, height to left, top, right, bottom."""
    out = tlwh.copy()
    out[2:] += tlwh[:2]
    return out


def overlaps(a: Corners, b: Corners) -> Overlaps:
    """All touching pairs of ``a`` and ``b`` with their IoU.

    >>> a = np.array([[0.0, 100.0], [0.0, 100.0], [9.0, 109.0], [9.0, 109.0]])
    >>> overlaps(a, a[:, ::-1])
    Overlaps(rows=array([0, 1]), columns=array([1, 0]), iou=array([1., 1.]))
    """
    n = b.shape[1]
    if not n or not a.shape[1]:
        nothing = np.zeros(0, np.intp)
        return Overlaps(nothing, nothing, np.zeros(0))
    a_end, b_end = a[2:] + 1, b[2:] + 1
    width = np.minimum.outer(a_end[0], b_end[0])
    width -= np.maximum.outer(a[0], b[0])
    height = np.minimum.outer(a_end[1], b_end[1])
    height -= np.maximum.outer(a[1], b[1])
    touching = where(((width > 0) & (height > 0)).ravel())
    rows, columns = np.divmod(touching, n)
    shared = width.ravel()[touching] * height.ravel()[touching]
    area_a = (a_end[0] - a[0]) * (a_end[1] - a[1])
    area_b = (b_end[0] - b[0]) * (b_end[1] - b[1])
    union = area_a[rows] + area_b[columns] - shared
    # A filter can predict a height below 0; such a box has no area that means anything.
    sane = union > 0
    if not sane.all():
        rows, columns, shared, union = rows[sane], columns[sane], shared[sane], union[sane]
    return Overlaps(rows, columns, shared / union)
