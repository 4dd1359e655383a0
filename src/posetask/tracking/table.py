"""All tracks of a tracker as one structure of arrays, in the order that the published lists have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posetask.tracking import kalman
from posetask.tracking.iou import Corners, Indices, corners, overlaps

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

DUPLICATE_DISTANCE = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """Tracks: first those that are tracked (confirmed or not), then those that are lost.

    Attributes:
        tracked: How many of the columns are tracked.
        state: ``(5, 4, T)``, see :mod:`posetask.tracking.kalman`.
        ids: ``(T,)`` int64, from 1.
        first: ``(T,)`` int64, frame of the first detection.
        last: ``(T,)`` int64, frame of the last one.
        confirmed: ``(T,)``: detected twice, or on the very first frame. Lost ones always are.
        expired: ``(T,)``: was lost for too long. It stays for one more frame, in which it can still be
            found; but a track that expired once is never held as lost again.
    """

    tracked: int
    state: kalman.State
    ids: Ints
    first: Ints
    last: Ints
    confirmed: Bools
    expired: Bools

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def corners(self) -> Corners:
        """``(4, T)`` boxes of the filters."""
        return corners(kalman.to_tlwh(self.state))

    @classmethod
    def empty(cls) -> TrackTable:
        """No tracks."""
        none, no = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return cls(0, np.zeros((5, 4, 0)), none, none, none, no, no)

    @classmethod
    def starting(cls, xyah: kalman.Rows, first_id: int, frame: int) -> TrackTable:
        """Tracks that start at measurements; they are confirmed at once on frame 1 only."""
        n = xyah.shape[1]
        now = np.full(n, frame, np.int64)
        ids = np.arange(first_id, first_id + n, dtype=np.int64)
        return cls(n, kalman.initiate(xyah), ids, now, now, np.full(n, frame == 1), np.zeros(n, np.bool_))

    def predicted(self) -> TrackTable:
        """One frame on. Lost tracks keep their height; unconfirmed ones stand still altogether."""
        state = self.state
        if self.tracked < len(self):
            state = state.copy()
            state[kalman.VELOCITY, kalman.HEIGHT, self.tracked :] = 0.0
        moved = kalman.predict(state)
        if not self.confirmed.all():
            moved = np.where(self.confirmed, moved, state)
        return self._with(moved, self.last, self.confirmed, self.expired)

    def corrected(self, tracks: Indices, xyah: kalman.Rows, frame: int) -> TrackTable:
        """With measurements ``(4, len(tracks))`` of some tracks, which confirm them."""
        last, confirmed = self.last.copy(), self.confirmed.copy()
        last[tracks] = frame
        confirmed[tracks] = True
        if len(tracks) == len(self):
            state = kalman.update(self.state, xyah)
        else:
            state = self.state.copy()
            state[:, :, tracks] = kalman.update(self.state.take(tracks, axis=2), xyah)
        return self._with(state, last, confirmed, self.expired)

    def expiring(self, frame: int, max_time_lost: int) -> TrackTable:
        """With those marked that have been lost for more than ``max_time_lost`` frames."""
        n = self.tracked
        if n == len(self):
            return self
        expired = self.expired.copy()
        expired[n:] |= frame - self.last[n:] > max_time_lost
        return self._with(self.state, self.last, self.confirmed, expired)

    def take(self, order: Indices, tracked: int) -> TrackTable:
        """Pick the columns ``order``, of which the first ``tracked`` are tracked."""
        return TrackTable(
            tracked,
            self.state.take(order, axis=2),
            self.ids[order],
            self.first[order],
            self.last[order],
            self.confirmed[order],
            self.expired[order],
        )

    def join(self, new: TrackTable) -> TrackTable:
        """Both, ``new`` at the end; a :meth:`take` then puts the columns in order."""
        return TrackTable(
            self.tracked,
            np.concatenate([self.state, new.state], axis=2),
            np.concatenate([self.ids, new.ids]),
            np.concatenate([self.first, new.first]),
            np.concatenate([self.last, new.last]),
            np.concatenate([self.confirmed, new.confirmed]),
            np.concatenate([self.expired, new.expired]),
        )

    def duplicates(self) -> Bools:
        """``(T,)``: of each tracked and lost track that cover each other, the one that lived shorter.

        Where both lived equally long it is the tracked one, as published.
        """
        n = self.tracked
        worse = np.zeros(len(self), np.bool_)
        if not n or n == len(self):
            return worse
        boxes = self.corners
        rows, columns, iou = overlaps(boxes[:, :n], boxes[:, n:])
        same = 1.0 - iou < DUPLICATE_DISTANCE
        if same.any():
            rows, columns = rows[same], columns[same] + n
            age = self.last - self.first
            worse[np.where(age[rows] > age[columns], columns, rows)] = True
        return worse

    def _with(self, state: kalman.State, last: Ints, confirmed: Bools, expired: Bools) -> TrackTable:
        return TrackTable(self.tracked, state, self.ids, self.first, last, confirmed, expired)
