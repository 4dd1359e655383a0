"""People to draw: a standing figure in unit coordinates, put anywhere and at any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from posetask.messages import FrameHeader, Tracks

# COCO-17, x to the right of the body's axis and y down from the crown, in body heights.
FIGURE = np.array(
    [
        (0.030, 0.090),
        (0.042, 0.072),
        (0.014, 0.072),
        (0.050, 0.080),
        (-0.025, 0.080),
        (0.105, 0.190),
        (-0.105, 0.190),
        (0.150, 0.330),
        (-0.165, 0.310),
        (0.200, 0.450),
        (-0.130, 0.440),
        (0.065, 0.500),
        (-0.065, 0.500),
        (0.090, 0.730),
        (-0.040, 0.740),
        (0.060, 0.960),
        (-0.110, 0.940),
    ],
    np.float32,
)

Person = tuple[float, float, float]
"""Middle, top and height in pixels."""


def _tracks(
    width: int, height: int, people: Sequence[Person], index: int = 0, first_id: int = 1, score: float = 0.9
) -> Tracks:
    n = len(people)
    places = np.array(people, np.float32).reshape(n, 3)
    keypoints = FIGURE[None] * places[:, None, 2:] + places[:, None, :2]
    half = places[:, 2] * 0.22
    boxes = np.stack(
        [places[:, 0] - half, places[:, 1], places[:, 0] + half, places[:, 1] + places[:, 2]], axis=1
    )
    header = FrameHeader(index=index, pts=index, time_base=Fraction(1, 25), width=width, height=height)
    return Tracks(
        header,
        np.arange(first_id, first_id + n, dtype=np.int32),
        boxes.astype(np.float32),
        np.full(n, 0.9, np.float32),
        np.arange(n, dtype=np.int32),
        keypoints.astype(np.float32),
        np.full((n, 17), score, np.float32),
    )


@pytest.fixture(scope="session")
def make_tracks() -> Callable[..., Tracks]:
    """``(width, height, [(middle, top, height), ...], index, first_id, score) -> Tracks``."""
    return _tracks


@pytest.fixture(scope="session")
def backdrop() -> Callable[[int, int], npt.NDArray[np.uint8]]:
    """Eight bands from dark on the left to light on the right."""

    def make(width: int, height: int) -> npt.NDArray[np.uint8]:
        ramp = (20 + 32 * (np.arange(width) * 8 // width)).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)))

    return make
