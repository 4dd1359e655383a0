"""Tracks by frame, without what the truth says to ignore."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from posetask.errors import InputError
from posetask.evaluation.libraries import library
from posetask.evaluation.people import Flags, Ids, Numbers, People


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """Both sides in one frame: ``(G,)`` and ``(P,)`` ids, ``(G, 4)`` and ``(P, 4)`` xywh, ``(G, P)`` IoU."""

    frame: int
    truth_ids: Ids
    truth_xywh: Numbers
    ids: Ids
    xywh: Numbers
    iou: Numbers


def overlaps(boxes: Numbers, others: Numbers, crowds: Flags) -> Numbers:
    """IoU of ``(P, 4)`` with ``(G, 4)`` xywh boxes, by pycocotools; ``(P, G)``.

    Where ``crowds`` of ``(G,)`` is set, the share of the box that lies in the region instead.

    >>> overlaps(np.array([[0.0, 0, 4, 4]]), np.array([[0.0, 0, 4, 8]]), np.array([False])).tolist()
    [[0.5]]
    """
    if not len(boxes) or not len(others):
        return np.zeros((len(boxes), len(others)))
    mask = library("pycocotools.mask")
    return np.asarray(mask.iou(boxes, others, crowds.astype(np.uint8).tolist()), np.float64)


def pair_frames(truth: People, predictions: People, match_iou: float) -> Iterator[FramePair]:
    """Every frame with anybody in it, in order, without the ignored people and what belongs to them.

    As MOTChallenge does: all true boxes, ignored ones included, are matched to the predicted ones first
    (largest total IoU), and a prediction that falls to an ignored person is dropped with it. One that
    falls to nobody is dropped if at least ``match_iou`` of it lies in a crowd region.

    Raises:
        InputError: An id occurs twice in a frame.
        NotAvailable: pycocotools or scipy is missing.
    """
    truth, predictions = truth.ordered(), predictions.ordered()
    _check_ids("the truth", truth.take(~truth.ignored & ~truth.crowds))
    _check_ids("the predictions", predictions)
    frames = np.union1d(truth.frames, predictions.frames)
    true_rows = np.searchsorted(truth.frames, frames), np.searchsorted(truth.frames, frames, "right")
    rows = np.searchsorted(predictions.frames, frames), np.searchsorted(predictions.frames, frames, "right")
    assign = library("scipy.optimize").linear_sum_assignment
    for i, frame in enumerate(frames.tolist()):
        here = slice(true_rows[0][i], true_rows[1][i])
        there = slice(rows[0][i], rows[1][i])
        crowds, ignored = truth.crowds[here], truth.ignored[here] & ~truth.crowds[here]
        counts = ~crowds & ~ignored
        boxes = predictions.xywh[there]
        shared = overlaps(boxes, truth.xywh[here], crowds)
        dropped = np.zeros(len(boxes), bool)
        if ignored.any() or crowds.any():
            likely = np.where((shared >= match_iou) & ~crowds, shared, 0.0)
            row, column = assign(likely, maximize=True)
            real = likely[row, column] > 0
            dropped[row[real]] = ignored[column[real]]
            free = np.ones(len(boxes), bool)
            free[row[real]] = False
            dropped |= free & (shared[:, crowds] >= match_iou).any(axis=1)
        yield FramePair(
            frame,
            truth.ids[here][counts],
            truth.xywh[here][counts],
            predictions.ids[there][~dropped],
            boxes[~dropped],
            shared[~dropped][:, counts].T,
        )


def _check_ids(side: str, people: People) -> None:
    pairs = np.stack([people.frames, people.ids], axis=1)
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = unique[counts > 1][0].tolist()
        raise InputError(
            f"{side} have the id {identity} more than once in frame {frame} (counted from 0)"
            if side.endswith("s")
            else f"{side} has the id {identity} more than once in frame {frame} (counted from 0)",
            hint="an id is one person: remove the doubled rows, or score boxes only, without ids",
        )
