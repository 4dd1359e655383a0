"""A plain ByteTrack, one Python object a track: what the vectorised tracker is checked and timed against.

Written from the paper (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection
Box", ECCV 2022) and the text-book Kalman filter: an 8x8 filter a track, one call a track for each
prediction and each update, IoU over whole matrices in numpy, and ``lap.lapjv`` over the whole problem.
It shares no code with :mod:`posetask.tracking`, and gives the stored ids of every reference stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lap
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TRACKED, LOST, REMOVED = "tracked", "lost", "removed"
MOTION = np.eye(8) + np.eye(8, k=4)
OBSERVE = np.eye(4, 8)


def start(z: Array) -> tuple[Array, Array]:
    h = z[3]
    std = np.array([h / 10, h / 10, 1e-2, h / 10, h / 16, h / 16, 1e-5, h / 16])
    return np.concatenate([z, np.zeros(4)]), np.diag(std**2)


def predict(mean: Array, cov: Array) -> tuple[Array, Array]:
    h = mean[3]
    std = np.array([h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160])
    return MOTION @ mean, MOTION @ cov @ MOTION.T + np.diag(std**2)


def correct(mean: Array, cov: Array, z: Array) -> tuple[Array, Array]:
    h = mean[3]
    noise = np.diag(np.array([h / 20, h / 20, 1e-1, h / 20]) ** 2)
    spread = OBSERVE @ cov @ OBSERVE.T + noise
    gain = np.linalg.solve(spread, OBSERVE @ cov).T
    return mean + gain @ (z - OBSERVE @ mean), cov - gain @ spread @ gain.T


def to_xyah(tlwh: Array) -> Array:
    x, y, w, h = tlwh
    return np.array([x + w / 2, y + h / 2, w / h, h])


@dataclass(eq=False)
class Track:
    """A detection at first; a track once it has an id and a filter."""

    box: Array
    score: Any
    det_index: int
    id: int = 0
    state: str = TRACKED
    activated: bool = False
    first_frame: int = 0
    last_frame: int = 0
    mean: Array = field(default_factory=lambda: np.zeros(0))
    cov: Array = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def tlwh(self) -> Array:
        if not len(self.mean):
            return self.box
        x, y, a, h = self.mean[:4]
        return np.array([x - a * h / 2, y - h / 2, a * h, h])

    @property
    def tlbr(self) -> Array:
        x, y, w, h = self.tlwh
        return np.array([x, y, x + w, y + h])

    def predict(self) -> None:
        if self.state != TRACKED:
            self.mean[7] = 0.0
        self.mean, self.cov = predict(self.mean, self.cov)

    def take(self, detection: Track, frame: int) -> None:
        self.mean, self.cov = correct(self.mean, self.cov, to_xyah(detection.box))
        self.score, self.det_index = detection.score, detection.det_index
        self.state, self.activated, self.last_frame = TRACKED, True, frame


def iou_distance(a: list[Track], b: list[Track]) -> Array:
    """``(len(a), len(b))``: 1 - IoU, in the inclusive convention of the published code (sides + 1 px)."""
    if not a or not b:
        return np.ones((len(a), len(b)))
    p, q = np.array([t.tlbr for t in a])[:, None], np.array([t.tlbr for t in b])[None]
    sides = np.minimum(p[..., 2:], q[..., 2:]) - np.maximum(p[..., :2], q[..., :2]) + 1
    sides = np.maximum(sides, 0)
    shared = sides[..., 0] * sides[..., 1]
    area_p = (p[..., 2] - p[..., 0] + 1) * (p[..., 3] - p[..., 1] + 1)
    area_q = (q[..., 2] - q[..., 0] + 1) * (q[..., 3] - q[..., 1] + 1)
    return np.asarray(1 - shared / (area_p + area_q - shared))


def assign(cost: Array, limit: float) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    if not cost.size:
        return [], list(range(cost.shape[0])), list(range(cost.shape[1]))
    _, of_row, of_col = lap.lapjv(cost, extend_cost=True, cost_limit=limit)
    pairs = [(i, int(j)) for i, j in enumerate(of_row) if j >= 0]
    return pairs, list(np.flatnonzero(of_row < 0)), list(np.flatnonzero(of_col < 0))


class ReferencePort:
    """Same calls as :class:`posetask.tracking.bytetrack.ByteTracker`; lists of objects inside."""

    def __init__(
        self,
        frame_rate: float,
        track_thresh: float = 0.6,
        match_thresh: float = 0.9,
        track_buffer: int = 30,
        mot20: bool = False,
    ) -> None:
        self.track_thresh, self.match_thresh, self.mot20 = track_thresh, match_thresh, mot20
        self.max_time_lost = int(frame_rate / 30.0 * track_buffer)
        self.frame = 0
        self.issued = 0
        self.tracked: list[Track] = []
        self.lost: list[Track] = []
        self.removed: set[int] = set()

    def _fused(self, cost: Array, detections: list[Track]) -> Array:
        if self.mot20 or not cost.size:
            return cost
        return np.asarray(1 - (1 - cost) * np.array([d.score for d in detections])[None])

    def update(self, xyxy: Array, scores: Array) -> list[Track]:
        self.frame += 1
        tlwh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
        every = [
            Track(box.astype(np.float64), s, i) for i, (box, s) in enumerate(zip(tlwh, scores, strict=True))
        ]
        high = [every[i] for i in np.flatnonzero(scores > self.track_thresh)]
        low = [every[i] for i in np.flatnonzero((scores > 0.1) & (scores < self.track_thresh))]

        unconfirmed = [t for t in self.tracked if not t.activated]
        pool = [t for t in self.tracked if t.activated] + self.lost
        for track in pool:
            track.predict()

        pairs, left, free = assign(self._fused(iou_distance(pool, high), high), self.match_thresh)
        found_again = [pool[i] for i, _ in pairs if pool[i].state != TRACKED]
        for i, j in pairs:
            pool[i].take(high[j], self.frame)

        second = [pool[i] for i in left if pool[i].state == TRACKED]
        pairs, left, _ = assign(iou_distance(second, low), 0.5)
        for i, j in pairs:
            second[i].take(low[j], self.frame)
        newly_lost = [second[i] for i in left]
        for track in newly_lost:
            track.state = LOST

        rest = [high[j] for j in free]
        pairs, left, free = assign(self._fused(iou_distance(unconfirmed, rest), rest), 0.7)
        for i, j in pairs:
            unconfirmed[i].take(rest[j], self.frame)
        for i in left:
            unconfirmed[i].state = REMOVED

        new = [rest[j] for j in free if rest[j].score >= self.track_thresh + 0.1]
        for track in new:
            self.issued += 1
            track.id, track.first_frame, track.last_frame = self.issued, self.frame, self.frame
            track.activated = self.frame == 1
            track.mean, track.cov = start(to_xyah(track.box))

        self.tracked = [t for t in self.tracked if t.state == TRACKED] + new + found_again
        gone = {t.id for t in self.lost if self.frame - t.last_frame > self.max_time_lost}
        self.lost = [t for t in self.lost if t.state != TRACKED] + newly_lost
        self.lost = [t for t in self.lost if t.id not in self.removed]
        for track in self.lost:
            if track.id in gone:
                track.state = REMOVED
        self.removed |= gone
        self._drop_duplicates()
        return [t for t in self.tracked if t.activated]

    def _drop_duplicates(self) -> None:
        worse: set[int] = set()
        for i, j in zip(*np.nonzero(iou_distance(self.tracked, self.lost) < 0.15), strict=True):
            p, q = self.tracked[i], self.lost[j]
            older = p.last_frame - p.first_frame > q.last_frame - q.first_frame
            worse.add(q.id if older else p.id)
        self.tracked = [t for t in self.tracked if t.id not in worse]
        self.lost = [t for t in self.lost if t.id not in worse]
