"""A small scene with known answers: three people walk for ten frames, far from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from posetask.evaluation import People, Predictions, Scores, Truth
from posetask.evaluation import score as plain_score

FRAMES, PERSONS = 10, 3
JOINTS = np.stack([np.linspace(0.1, 0.9, 17), np.linspace(0.05, 0.95, 17)[::-1]], axis=1)


def _walk() -> People:
    frames, persons = (grid.ravel() for grid in np.mgrid[0:FRAMES, 0:PERSONS])
    xywh = np.stack(
        [
            100.0 * persons + 2 * frames,
            20.0 + frames,
            np.full(frames.shape, 40.0),
            np.full(frames.shape, 90.0),
        ],
        1,
    )
    joints = xywh[:, None, :2] + JOINTS * xywh[:, None, 2:]
    keypoints = np.concatenate([joints, np.full((len(frames), 17, 1), 2.0)], axis=2)
    return People.of(frames, xywh, ids=persons + 1, keypoints=keypoints, visible=np.ones(len(frames)))


@pytest.fixture
def walk() -> People:
    """30 rows: frame 0 to 9 of persons 1 to 3; boxes of 40 x 90, all keypoints visible."""
    return _walk()


@pytest.fixture
def as_truth() -> Callable[[People], Truth]:
    """Truth of one table, in frames of 540 pixels."""

    def make(people: People) -> Truth:
        frames = np.arange(FRAMES)
        return Truth(
            {"boxes": people, "poses": people, "tracks": people},
            frames=frames,
            heights=np.full(FRAMES, 540.0),
        )

    return make


@pytest.fixture
def as_predictions() -> Callable[[People], Predictions]:
    """Predictions of one table."""

    def make(people: People) -> Predictions:
        return Predictions({"boxes": people, "poses": people, "tracks": people})

    return make


@pytest.fixture(scope="session")
def score() -> Callable[..., Scores]:
    """``posetask.evaluation.score``, where the libraries of the extra are installed."""
    for name in ("motmetrics", "motrics", "pycocotools"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'posetask[eval]'")
    return plain_score


@pytest.fixture
def compare(
    score: Callable[..., Scores],
    as_truth: Callable[[People], Truth],
    as_predictions: Callable[[People], Predictions],
) -> Callable[..., Scores]:
    """Score one table against another."""
    return lambda truth, predictions, options=None: score(
        as_truth(truth), as_predictions(predictions), options
    )


@pytest.fixture
def moved() -> Callable[[People, float], People]:
    """The same people with every keypoint shifted to the right."""

    def shift(people: People, by: float) -> People:
        keypoints = people.keypoints.copy()
        keypoints[:, :, 0] += by
        return replace(people, keypoints=keypoints)

    return shift
