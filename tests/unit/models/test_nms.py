from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.models.nms import nms


def random_boxes(seed: int, n: int, spread: float = 300.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, spread, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 120, (n, 2))], axis=1)


cases = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 90), st.floats(0.05, 1.0))


@given(cases)
def test_it_keeps_what_the_plain_loop_keeps(reference: ModuleType, case):
    seed, n, threshold = case
    boxes = random_boxes(seed, n)
    assert nms(boxes, threshold).tolist() == reference.suppress([tuple(b) for b in boxes], threshold)


@pytest.mark.parametrize("n", [255, 256, 257, 700])
def test_the_blocks_do_not_show(reference: ModuleType, n: int):
    boxes = random_boxes(n, n, 900)
    assert nms(boxes, 0.4).tolist() == reference.suppress([tuple(b) for b in boxes], 0.4)


@given(cases)
def test_kept_boxes_are_apart_and_dropped_ones_had_a_better_neighbour(reference: ModuleType, case):
    seed, n, threshold = case
    boxes = random_boxes(seed, n)
    kept = nms(boxes, threshold).tolist()
    assert all(reference.iou(boxes[a], boxes[b]) <= threshold for a in kept for b in kept if a < b)
    for i in set(range(n)) - set(kept):
        assert any(k < i and reference.iou(boxes[k], boxes[i]) > threshold for k in kept)
    assert nms(boxes[kept], threshold).tolist() == list(range(len(kept)))


@given(cases, st.floats(0.01, 50))
def test_the_unit_of_the_coordinates_does_not_matter(case, factor):
    seed, n, threshold = case
    boxes = random_boxes(seed, n)
    # random boxes whose IoU is within rounding of a random threshold do not come up
    assert nms(boxes * factor, threshold).tolist() == nms(boxes, threshold).tolist()


def test_a_limit_keeps_the_best():
    boxes = random_boxes(3, 400, 5000)
    everything = nms(boxes, 0.45)
    assert nms(boxes, 0.45, limit=7).tolist() == everything[:7].tolist()


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # touching is not overlapping
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (2, 2, 8, 8), 0.36),
        ((-5, -5, 5, 5), (-5, 0, 5, 5), 0.5),
    ],
)
def test_iou_by_hand(a, b, iou):
    boxes = np.array([a, b], float)
    assert nms(boxes, iou + 1e-9).tolist() == [0, 1]
    assert nms(boxes, max(iou - 1e-9, 1e-12)).tolist() == ([0] if iou else [0, 1])


def test_the_threshold_itself_is_still_apart():
    assert nms(np.array([[0, 0, 10, 10], [0, 0, 10, 5.0]]), 0.5).tolist() == [0, 1]


def test_boxes_without_area_do_no_harm():
    assert nms(np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 9, 9.0]]), 0.5).tolist() == [0, 1, 2]


def test_no_boxes_are_no_boxes():
    assert nms(np.zeros((0, 4)), 0.5).tolist() == []
