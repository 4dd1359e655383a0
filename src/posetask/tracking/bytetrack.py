"""ByteTrack: tracking by associating every detection box (Zhang et al., ECCV 2022, arXiv 2110.06864).

The published tracker, decision for decision and in its order of output, over arrays instead of
objects. What one frame does:

1. Detections above ``track_thresh`` are *high*, those from 0.1 to it are *low*.
2. Confirmed and lost tracks move on by one frame; a lost one's height stands still.
3. They are matched with the high ones, at a cost of 1 - IoU x score.
4. What was tracked and is left is matched with the low ones, at 1 - IoU; who is left then is lost.
5. Tracks that were seen once are matched with the high ones left, or forgotten.
6. High ones left start tracks where their score is at least ``track_thresh`` + 0.1.
7. Tracks lost for too long, and duplicates of tracked and lost, go.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posetask.errors import InvalidParameters
from posetask.tracking import kalman
from posetask.tracking.iou import Indices, where
from posetask.tracking.matching import associate
from posetask.tracking.measurements import Measurements, measure
from posetask.tracking.parameters import REFERENCE_FRAME_RATE, ByteTrackParameters
from posetask.tracking.table import TrackTable

__all__ = ["ByteTrackParameters", "ByteTracker", "TrackerOutput"]

LOW_THRESH = 0.1
SECOND_LIMIT = 0.5
UNCONFIRMED_LIMIT = 0.7


class TrackerOutput(NamedTuple):
    """Tracks of one frame, in the published tracker's order.

    Attributes:
        ids: ``(M,)`` int32, from 1.
        tlwh: ``(M, 4)`` float64: left, top, width, height of the filter after its update, in pixels.
        scores: ``(M,)`` of the input's dtype: the matched detection's.
        det_index: ``(M,)`` int32: row of the matched detection in this frame's input.
    """

    ids: npt.NDArray[np.int32]
    tlwh: npt.NDArray[np.float64]
    scores: npt.NDArray[np.floating]
    det_index: npt.NDArray[np.int32]


class ByteTracker:
    """Gives detections identities, frame by frame.

    Call :meth:`update` for every frame, also for those without detections: time passes with the calls.
    Ids start at 1 in every tracker. The state holds the tracks that are tracked or lost and nothing
    else, so it stays bounded however long the stream is. Not thread-safe.

    Args:
        parameters: See :class:`~posetask.tracking.parameters.ByteTrackParameters`.
        frame_rate: Calls per second of video; ``parameters.frame_rate`` overrides it, 0 means unknown
            and is taken as 30.

    Raises:
        InvalidParameters: The frame rate is negative, infinite or NaN.

    >>> tracker = ByteTracker(ByteTrackParameters(), frame_rate=30.0)
    >>> box, score = np.array([[10, 10, 50, 90]], np.float32), np.array([0.9], np.float32)
    >>> tracker.update(box, score).ids
    array([1], dtype=int32)
    >>> tracker.update(box + 2, score).ids
    array([1], dtype=int32)
    """

    def __init__(
        self, parameters: ByteTrackParameters | None = None, frame_rate: float = REFERENCE_FRAME_RATE
    ) -> None:
        self.parameters = parameters or ByteTrackParameters()
        if not math.isfinite(frame_rate) or frame_rate < 0:
            raise InvalidParameters(
                f"the tracker's frame rate is {frame_rate}", hint="give frames per second, or 0 if unknown"
            )
        self.frame_rate = self.parameters.frame_rate or frame_rate or REFERENCE_FRAME_RATE
        self.max_time_lost = self.parameters.max_time_lost(self.frame_rate)
        self._frame = 0
        self._issued = 0
        self._table = TrackTable.empty()

    @property
    def frames(self) -> int:
        """Calls so far."""
        return self._frame

    @property
    def ids_issued(self) -> int:
        """Ids given so far; a track that is never confirmed takes one and is never put out."""
        return self._issued

    @property
    def size(self) -> int:
        """Tracks that are held now, tracked and lost."""
        return len(self._table)

    def update(self, xyxy: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> TrackerOutput:
        """Take in the next frame.

        float32 input is worked as float32: sizes and comparisons with thresholds are done in the
        input's type, as in the published tracker; the filter is float64.

        Args:
            xyxy: ``(N, 4)`` left, top, right, bottom in pixels; N can be 0. Boxes that are inside out,
                or less than a thousandth of a pixel high, take no part.
            scores: ``(N,)``, meant to be 0 to 1.

        Raises:
            InvalidParameters: Shapes do not fit, a number is not finite, or a coordinate is absurd.
                The tracker is then as it was before the call.
        """
        seen = measure(xyxy, scores)
        self._frame += 1
        table = self._table.predicted() if len(self._table) else self._table
        matched, left = self._associate(table, seen)
        new = left[seen.scores[left] >= self.parameters.new_track_thresh]
        self._table, matched = self._next(table, seen, matched, new)
        return _output(self._table, seen, matched)

    def _associate(self, table: TrackTable, seen: Measurements) -> tuple[Indices, Indices]:
        """``(T,)``: the detection of each track, or -1; and the high detections that are left over."""
        p = self.parameters
        high = where(seen.usable & (seen.scores > p.track_thresh))
        matched = np.full(len(table), -1, np.intp)
        if not len(table):
            return matched, high
        boxes = table.corners

        def match(tracks: Indices, detections: Indices, limit: float, *, fused: bool) -> None:
            if len(tracks) and len(detections):
                weights = seen.scores[detections] if fused and not p.mot20 else None
                i, j = associate(boxes[:, tracks], seen.corners[:, detections], limit, weights)
                matched[tracks[i]] = detections[j]

        match(where(table.confirmed), high, p.match_thresh, fused=True)
        missed = where(table.confirmed[: table.tracked] & (matched[: table.tracked] < 0))
        if len(missed):
            low = where(seen.usable & (seen.scores > LOW_THRESH) & (seen.scores < p.track_thresh))
            match(missed, low, SECOND_LIMIT, fused=False)
        left = _left_over(high, matched, len(seen.scores))
        unconfirmed = where(~table.confirmed)
        if len(unconfirmed) and len(left):
            match(unconfirmed, left, UNCONFIRMED_LIMIT, fused=True)
            left = _left_over(left, matched, len(seen.scores))
        return matched, left

    def _next(
        self, table: TrackTable, seen: Measurements, matched: Indices, new: Indices
    ) -> tuple[TrackTable, Indices]:
        """Build the tracks after this frame, and the detection of each that is tracked.

        Their order is the published one: tracked before and still, new, found again; then lost before
        and still, newly lost.
        """
        n, size = table.tracked, len(table)
        hit = matched >= 0
        hits = where(hit)
        was_confirmed = table.confirmed
        if len(hits):
            table = table.corrected(hits, seen.xyah[:, matched[hits]], self._frame)
        if len(hits) == size == n and not len(new):
            return table, matched
        tracked = [where(hit[:n]), np.arange(size, size + len(new)), n + where(hit[n:])]
        held = ~(hit | table.expired)
        lost = [n + where(held[n:]), where(held[:n] & was_confirmed[:n])]
        table = table.expiring(self._frame, self.max_time_lost)
        if len(new):
            table = table.join(TrackTable.starting(seen.xyah[:, new], self._issued + 1, self._frame))
            self._issued += len(new)
        of_tracked = np.concatenate(tracked)
        matched = np.concatenate([matched, new])[of_tracked]
        table = table.take(np.concatenate([of_tracked, *lost]), len(of_tracked))
        worse = table.duplicates()
        if worse.any():
            keep = ~worse
            matched = matched[keep[: table.tracked]]
            table = table.take(where(keep), len(matched))
        return table, matched


def _left_over(detections: Indices, matched: Indices, count: int) -> Indices:
    """Those of ``detections`` that no track has; ``matched`` may hold -1, which falls on a spare place."""
    free = np.ones(count + 1, np.bool_)
    free[matched] = False
    return detections[free[detections]]


def _output(table: TrackTable, seen: Measurements, matched: Indices) -> TrackerOutput:
    n = table.tracked
    shown = where(table.confirmed[:n])
    det_index = matched[shown]
    return TrackerOutput(
        table.ids[shown].astype(np.int32),
        np.ascontiguousarray(kalman.to_tlwh(table.state[:, :, shown]).T),
        seen.scores[det_index],
        det_index.astype(np.int32),
    )
