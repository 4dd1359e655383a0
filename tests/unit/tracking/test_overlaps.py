from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.tracking.iou import corners, overlaps


def one_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return width * height / (area_a + area_b - width * height)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 12), m=st.integers(0, 12))
def test_every_touching_pair_is_there_once_with_its_iou_and_no_other(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        corners(np.concatenate([rng.uniform(-20, 100, (2, k)), rng.uniform(0, 60, (2, k))])) for k in (n, m)
    )
    found = overlaps(a, b)
    dense = np.zeros((n, m))
    dense[found.rows, found.columns] = found.iou
    expected = np.array([[one_iou(a[:, i], b[:, j]) for j in range(m)] for i in range(n)]).reshape(n, m)
    np.testing.assert_allclose(dense, expected, atol=1e-12)
    assert len(found.rows) == np.count_nonzero(expected)
    assert (np.diff(found.rows * (m + 1) + found.columns) > 0).all()


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ([0, 0, 9, 9], 1.0),
        ([10, 0, 19, 9], 0.0),  # one pixel on: inclusive pixels no longer share a column
        ([9, 0, 18, 9], 10 / 190),
        ([9.5, 0, 18.5, 9], 5 / 195),
        ([0, 0, 4, 9], 0.5),
        ([500, 500, 600, 600], 0.0),
    ],
)
def test_pixels_count_inclusively_as_published(other: list[float], iou: float) -> None:
    a = np.array([[0.0, 0.0, 9.0, 9.0]]).T
    found = overlaps(a, np.array([other], float).T)
    assert found.iou.tolist() == pytest.approx([iou] if iou else [])


def test_a_predicted_box_inside_out_gives_no_nan() -> None:
    turned = np.array([[10.0, 10.0, 9.0, 9.0], [0.0, 0.0, -30.0, 20.0]]).T
    found = overlaps(turned, np.array([[0.0, 0.0, 20.0, 20.0], [9.0, 9.0, 8.0, 8.0]]).T)
    assert np.isfinite(found.iou).all()
