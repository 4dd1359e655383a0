"""Streams of detections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Feed = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def crowd() -> Callable[..., Feed]:
    """Moving boxes with jitter, misses, weak scores and false positives; float32, in random order."""

    def make(seed: int, frames: int = 60, objects: int = 12, size: int = 400) -> Feed:
        rng = np.random.default_rng(seed)
        centre = rng.uniform(0, size, (objects, 2))
        speed = rng.normal(0, 3, (objects, 2))
        sides = np.stack([rng.uniform(20, 60, objects), rng.uniform(50, 150, objects)], axis=1)
        hidden = np.zeros(objects, int)
        feed = []
        for _ in range(frames):
            centre += speed
            speed[(centre < 0) | (centre > size)] *= -1
            hidden = np.where(
                hidden > 0, hidden - 1, (rng.random(objects) < 0.02) * rng.integers(1, 40, objects)
            )
            seen = (hidden == 0) & (rng.random(objects) > 0.05)
            boxes = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)[seen]
            boxes = boxes + rng.normal(0, 2, boxes.shape)
            false = rng.uniform(0, size, (rng.poisson(1.0), 2))
            boxes = np.concatenate(
                [boxes, np.concatenate([false, false + rng.uniform(20, 90, false.shape)], axis=1)]
            )
            scores = rng.beta(5, 2, len(boxes))
            order = rng.permutation(len(boxes))
            feed.append((boxes[order].astype(np.float32), scores[order].astype(np.float32)))
        return feed

    return make
