"""Made-up tracks, and the metadata of a made-up run."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from posetask.exports import RunMetadata
from posetask.messages import FrameHeader, Tracks


def _tracks(
    index: int, people: int, *, seed: int = 0, interpolated: bool = False, keypoints: int = 17
) -> Tracks:
    rng = np.random.default_rng((seed, index))
    header = FrameHeader(index=index, pts=index * 1001, time_base=Fraction(1, 30000), width=640, height=480)
    corners = rng.uniform(-20, 400, (people, 2))
    return Tracks(
        header,
        np.arange(1, people + 1, dtype=np.int32),
        np.concatenate([corners, corners + rng.uniform(20, 200, (people, 2))], axis=1).astype(np.float32),
        rng.uniform(0.1, 1, people).astype(np.float32),
        rng.permutation(people).astype(np.int32),
        rng.uniform(0, 480, (people, keypoints, 2)).astype(np.float32),
        rng.uniform(0.01, 1.05, (people, keypoints)).astype(np.float32),
        interpolated,
    )


@pytest.fixture(scope="session")
def make_tracks() -> Callable[..., Tracks]:
    """``(index, people, seed, interpolated, keypoints) -> Tracks``."""
    return _tracks


@pytest.fixture(scope="session")
def metadata() -> RunMetadata:
    """Of a run of 640x480."""
    return RunMetadata(
        source="walk.mp4",
        source_sha256="ab" * 32,
        width=640,
        height=480,
        frame_rate=29.97,
        detector="yolox-nano",
        detector_sha256="12" * 32,
        pose="rtmpose-t",
        pose_sha256="34" * 32,
    )
