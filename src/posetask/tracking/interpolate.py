"""Tracks of the frames between two analysed ones."""

from __future__ import annotations

import numpy as np

from posetask.messages import Floats, FrameHeader, Tracks
from posetask.tracking.iou import Indices


def interpolate(before: Tracks, after: Tracks, header: FrameHeader) -> Tracks:
    """Who is in both analysed frames, moved linearly in time to the frame between them.

    Boxes, scores and keypoints are interpolated; a keypoint that either end lacks is NaN, with a score
    of 0. A time outside the two is taken as the nearer end. Ids stand in the order of ``before``.

    Args:
        before: Tracks of the analysed frame before.
        after: Tracks of the analysed frame after, with keypoints of the same skeleton.
        header: The frame between.

    Returns:
        Tracks with ``det_index`` -1, marked as interpolated.
    """
    i, j = _in_both(before, after)
    if not len(i):
        return Tracks.empty(header, before.keypoints.shape[1], interpolated=True)
    start = before.header.pts * before.header.time_base
    end = after.header.pts * after.header.time_base
    now = header.pts * header.time_base
    share = min(max(float((now - start) / (end - start)), 0.0), 1.0) if end > start else 0.0

    def between(a: Floats, b: Floats) -> Floats:
        # this form, unlike a + share * (b - a), gives both ends back exactly
        mixed: Floats = a[i] * np.float32(1.0 - share) + b[j] * np.float32(share)
        return mixed

    keypoints = between(before.keypoints, after.keypoints)
    missing = np.isnan(keypoints).any(axis=2)
    keypoints[missing] = np.nan
    keypoint_scores = between(before.keypoint_scores, after.keypoint_scores)
    keypoint_scores[missing] = 0
    return Tracks(
        header,
        before.ids[i],
        between(before.xyxy, after.xyxy),
        between(before.scores, after.scores),
        np.full(len(i), -1, np.int32),
        keypoints,
        keypoint_scores,
        interpolated=True,
    )


def _in_both(before: Tracks, after: Tracks) -> tuple[Indices, Indices]:
    place = {int(track): row for row, track in enumerate(after.ids)}
    rows = [(i, place[int(track)]) for i, track in enumerate(before.ids) if int(track) in place]
    i, j = zip(*rows, strict=True) if rows else ((), ())
    return np.array(i, np.intp), np.array(j, np.intp)
