from __future__ import annotations

import numpy as np
import pytest

from posetask.errors import InvalidParameters
from posetask.tracking.measurements import measure

BOX = [[10.0, 20.0, 30.0, 60.0]]


@pytest.mark.parametrize(
    ("xyxy", "scores", "says"),
    [
        (np.array([[0, 0, np.nan, 5]]), np.array([0.5]), "xyxy of detection 0"),
        (np.array([[0, 0, 1, 5], [0, 0, np.inf, 5]]), np.array([0.5, 0.5]), "xyxy of detection 1"),
        (np.array(BOX), np.array([np.nan]), "scores of detection 0"),
        (np.array([[0, 0, 1e8, 5]]), np.array([0.5]), "xyxy of detection 0"),
        (np.array(BOX), np.array([0.5, 0.6]), "do not fit"),
        (np.zeros((1, 5)), np.array([0.5]), "do not fit"),
        (np.zeros(0), np.zeros(0), "do not fit"),
        (np.array(BOX), np.array(0.5), "do not fit"),
        (np.array([["a"] * 4]), np.array([0.5]), "no numbers"),
        (np.array(BOX, complex), np.array([0.5]), "no numbers"),
        (np.array(BOX, bool), np.array([0.5]), "no numbers"),
    ],
)
def test_what_is_no_detection_is_refused_with_a_hint(xyxy: np.ndarray, scores: np.ndarray, says: str) -> None:
    with pytest.raises(InvalidParameters, match=says) as caught:
        measure(xyxy, scores)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("boxes", "scores", "worked_as"),
    [
        (np.float32, np.float32, np.float32),
        (np.float64, np.float64, np.float64),
        (np.float32, np.float64, np.float64),
        (np.float16, np.float32, np.float32),
        (np.int64, np.float64, np.float64),
        (np.longdouble, np.float64, np.float64),
    ],
)
def test_the_type_of_the_input_is_kept(boxes: type, scores: type, worked_as: type) -> None:
    assert measure(np.array(BOX, boxes), np.array([0.5], scores)).scores.dtype == worked_as


def test_sizes_are_worked_in_the_inputs_type() -> None:
    xyxy = np.array([[1000.1, 0.0, 1000.7, 10.0]])
    single, double = (measure(xyxy.astype(t), np.array([0.5], t)) for t in (np.float32, np.float64))
    x1, x2 = xyxy.astype(np.float32)[0, [0, 2]]
    assert single.corners[2, 0] == float(x1) + float(x2 - x1)
    assert single.xyah[2, 0] != double.xyah[2, 0]


def test_boxes_without_a_height_or_inside_out_are_not_usable_and_one_without_a_width_is() -> None:
    xyxy = np.array([[0, 0, 5, 0], [5, 0, 0, 9], [0, 9, 5, 0], [0, 0, 0, 9], [0, 0, 5, 9]], float)
    seen = measure(xyxy, np.full(5, 0.9))
    assert seen.usable.tolist() == [False, False, False, True, True]
    assert np.isfinite(seen.xyah).all()
    assert seen.xyah[:, 4].tolist() == [2.5, 4.5, 5 / 9, 9]


def test_an_empty_frame_is_fine() -> None:
    seen = measure(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    assert seen.corners.shape == seen.xyah.shape == (4, 0)
