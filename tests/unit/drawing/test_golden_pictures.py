"""Pictures reviewed by eye.

After a wanted change: ``POSETASK_UPDATE_GOLDEN=1 pytest tests/unit/drawing``, and look at them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from posetask.drawing import PoseAnnotator
from posetask.messages import Tracks

GOLDEN = Path(__file__).parent / "golden"
MEAN_TOLERANCE = 0.6  # of 255, over the whole picture: OpenCV's versions round anti-aliased edges differently
AREA_TOLERANCE = 0.004  # share of pixels that may differ by more than 40
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    name: str
    width: int
    height: int
    people: tuple[tuple[float, float, float], ...]
    crop: tuple[int, int, int, int] | None = None  # left, top, width, height
    boxes: bool = False
    frame_counter: bool = False
    unseen: int | None = None  # the row of a person without keypoints


CASES = [
    Case(
        "small_320x240",
        320,
        240,
        ((60, 60, 150), (130, 90, 60), (180, 40, 190), (262, 120, 90)),
        frame_counter=True,
    ),
    Case(
        "boxes_640x360",
        640,
        360,
        ((80, 50, 280), (210, -40, 300), (330, 120, 200), (445, 70, 260), (640, 60, 280)),
        boxes=True,
        frame_counter=True,
    ),
    Case(
        "crowd_480x270", 480, 270, tuple((30 + 42 * i, 40 + 40 * (i % 3), 120) for i in range(11)), unseen=4
    ),
    Case("uhd_crop", 3840, 2160, ((2000, 500, 1100), (2330, 640, 420)), crop=(1760, 420, 700, 560)),
]


def render(case: Case, make_tracks: Callable[..., Tracks], backdrop: Callable[[int, int], Pixels]) -> Pixels:
    tracks = make_tracks(case.width, case.height, case.people, index=1234)
    if case.unseen is not None:
        keypoints, scores = tracks.keypoints.copy(), tracks.keypoint_scores.copy()
        keypoints[case.unseen], scores[case.unseen] = np.nan, 0
        tracks = replace(tracks, keypoints=keypoints, keypoint_scores=scores)
    image = backdrop(case.width, case.height)
    PoseAnnotator(case.width, case.height, boxes=case.boxes, frame_counter=case.frame_counter).draw(
        image, tracks
    )
    if case.crop:
        left, top, width, height = case.crop
        image = image[top : top + height, left : left + width]
    return image


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_picture_is_the_reviewed_one(
    case: Case, make_tracks: Callable[..., Tracks], backdrop: Callable[[int, int], Pixels]
) -> None:
    image = render(case, make_tracks, backdrop)
    path = GOLDEN / f"{case.name}.png"
    if os.environ.get("POSETASK_UPDATE_GOLDEN"):
        cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    golden = cv2.imread(str(path))
    assert golden is not None, f"{path} is missing; set POSETASK_UPDATE_GOLDEN=1 once, and look at it"
    assert golden.shape == image.shape
    difference = np.abs(golden.astype(np.int16) - image)
    assert difference.mean() <= MEAN_TOLERANCE
    assert (difference.max(axis=2) > 40).mean() <= AREA_TOLERANCE


def test_a_missing_person_fails_the_comparison(
    make_tracks: Callable[..., Tracks], backdrop: Callable[[int, int], Pixels]
) -> None:
    case = CASES[1]
    image = render(replace(case, people=case.people[:-2]), make_tracks, backdrop)
    golden = cv2.imread(str(GOLDEN / f"{case.name}.png"))
    assert golden is not None
    difference = np.abs(golden.astype(np.int16) - image)
    assert difference.mean() > MEAN_TOLERANCE
    assert (difference.max(axis=2) > 40).mean() > AREA_TOLERANCE


def test_golden_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.png")) < 200_000
