"""Minimum-cost matching of tracks and detections, exactly as over the whole matrix, but over little of it.

The published tracker gives ``lapjv`` the whole cost matrix with a ``cost_limit``: leaving a row and a
column unmatched costs the limit, so a pair gains ``limit - cost``, and the best matching is the one of
the largest total gain. Pairs above the limit never matter. A pair that gains more than all its rivals
in its row and its column together is in every best matching: whatever could stand in its place, at
most one rival of the row and one of the column, is worth less. Such sure pairs are taken out, round by
round; ``lapjv`` decides among the rest, which is small or empty. Without ties the result is the same
matching; ties are broken deterministically.
"""

from __future__ import annotations

import lap
import numpy as np
import numpy.typing as npt

from posetask.tracking.iou import Corners, Indices, overlaps

Floats = npt.NDArray[np.floating]
Pairs = tuple[Indices, Indices]

_MARGIN = 1e-9
"""Less than this between a pair and its rivals counts as a tie, which is lapjv's to break."""


def associate(tracks: Corners, detections: Corners, limit: float, scores: Floats | None = None) -> Pairs:
    """Tracks and detections that belong together, ordered by track.

    Args:
        tracks: ``(4, T)`` corners.
        detections: ``(4, D)`` corners.
        limit: Largest cost of a match. The cost is 1 - IoU, or 1 - IoU x score where there are ``scores``.
        scores: ``(D,)`` or None.

    Returns:
        Indices of tracks and of detections, ``(M,)`` each. Boxes that do not touch are never matched.
    """
    rows, columns, iou = overlaps(tracks, detections)
    if len(rows) and scores is not None:
        iou = iou * scores[columns]
    return assign(rows, columns, 1.0 - iou, limit)


def assign(rows: Indices, columns: Indices, cost: Floats, limit: float) -> Pairs:
    """Match at the least total cost, ``limit`` being the price of a row and a column unmatched.

    Args:
        rows: ``(E,)``: the row of each pair that may be matched.
        columns: ``(E,)``; a pair stands here once.
        cost: ``(E,)``, finite. Pairs above ``limit`` are never matched.
        limit: Largest cost of a match.

    Returns:
        Matched rows, ascending, and their columns.

    >>> assign(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.1, 0.2, 0.15]), 0.9)
    (array([0, 1]), array([1, 0]))
    """
    gain = limit - cost
    possible = gain >= 0
    if not possible.all():
        rows, columns, gain = rows[possible], columns[possible], gain[possible]
    found: list[Pairs] = []
    while len(rows):
        in_row, in_column = np.bincount(rows, gain), np.bincount(columns, gain)
        # gain > (sum of row - gain) + (sum of column - gain)
        sure = 3 * gain > in_row[rows] + in_column[columns] + _MARGIN
        if not sure.any():
            found.append(_solve(rows, columns, gain, limit))
            break
        found.append((rows[sure], columns[sure]))
        if sure.all():
            break
        in_row[rows[sure]] = in_column[columns[sure]] = -1.0
        rest = (in_row[rows] >= 0) & (in_column[columns] >= 0)
        rows, columns, gain = rows[rest], columns[rest], gain[rest]
    return _join(found)


def _solve(rows: Indices, columns: Indices, gain: Floats, limit: float) -> Pairs:
    """Do the same by ``lapjv``, over the rows and columns that occur."""
    row_of, i = np.unique(rows, return_inverse=True)
    column_of, j = np.unique(columns, return_inverse=True)
    cost = np.full((len(row_of), len(column_of)), limit + 1.0)
    cost[i, j] = limit - gain
    of_row = lap.lapjv(cost, extend_cost=True, cost_limit=limit, return_cost=False)[0]
    matched = np.flatnonzero(of_row >= 0)
    return row_of[matched], column_of[of_row[matched]]


def _join(found: list[Pairs]) -> Pairs:
    if len(found) == 1:
        return found[0]
    if not found:
        nothing = np.zeros(0, np.intp)
        return nothing, nothing
    rows = np.concatenate([pair[0] for pair in found])
    columns = np.concatenate([pair[1] for pair in found])
    order = np.argsort(rows)
    return rows[order], columns[order]
