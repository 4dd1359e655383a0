from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.tracking import kalman

MOTION = np.eye(8)
MOTION[:4, 4:] = np.eye(4)


def full_start(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h = z[3]
    std = [2 * h / 20, 2 * h / 20, 1e-2, 2 * h / 20, 10 * h / 160, 10 * h / 160, 1e-5, 10 * h / 160]
    return np.concatenate([z, np.zeros(4)]), np.diag(np.square(std))


def full_predict(mean: np.ndarray, cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h = mean[3]
    std = [h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]
    return MOTION @ mean, MOTION @ cov @ MOTION.T + np.diag(np.square(std))


def full_update(mean: np.ndarray, cov: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    observe = np.eye(4, 8)
    h = mean[3]
    spread = observe @ cov @ observe.T + np.diag(np.square([h / 20, h / 20, 1e-1, h / 20]))
    gain = cov @ observe.T @ np.linalg.inv(spread)
    return mean + gain @ (z - observe @ mean), cov - gain @ spread @ gain.T


def as_full(state: np.ndarray, track: int) -> tuple[np.ndarray, np.ndarray]:
    own = state[:, :, track]
    cov = np.zeros((8, 8))
    index = np.arange(4)
    cov[index, index] = own[kalman.VAR_POSITION]
    cov[index, index + 4] = cov[index + 4, index] = own[kalman.COVARIANCE]
    cov[index + 4, index + 4] = own[kalman.VAR_VELOCITY]
    return own[:2].ravel(), cov


def measurement(rng: np.random.Generator, tracks: int) -> np.ndarray:
    return np.stack(
        [
            rng.uniform(-100, 2000, tracks),
            rng.uniform(-100, 2000, tracks),
            rng.uniform(0.1, 3, tracks),
            rng.uniform(1, 800, tracks),
        ]
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    tracks=st.integers(1, 5),
    steps=st.lists(st.booleans(), min_size=1, max_size=30),
)
def test_four_small_filters_are_the_full_8x8_filter(seed: int, tracks: int, steps: list[bool]) -> None:
    rng = np.random.default_rng(seed)
    z = measurement(rng, tracks)
    state = kalman.initiate(z)
    full = [full_start(z[:, t]) for t in range(tracks)]
    for measured in steps:
        state = kalman.predict(state)
        full = [full_predict(*f) for f in full]
        if measured:
            z = measurement(rng, tracks)
            state = kalman.update(state, z)
            full = [full_update(*f, z[:, t]) for t, f in enumerate(full)]
        for t, (mean, cov) in enumerate(full):
            own_mean, own_cov = as_full(state, t)
            scale = np.sqrt(np.outer(cov.diagonal(), cov.diagonal()))
            np.testing.assert_allclose(own_mean, mean, rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(own_cov / scale, cov / scale, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "step", [kalman.predict, lambda s: kalman.update(s, measurement(np.random.default_rng(2), 3))]
)
def test_a_step_leaves_its_input_alone(step) -> None:
    state = kalman.initiate(measurement(np.random.default_rng(1), 3))
    before = state.copy()
    assert not np.array_equal(step(state), before)
    np.testing.assert_array_equal(state, before)


def test_boxes_come_back_as_they_went_in() -> None:
    state = kalman.initiate(np.array([[60.0], [45.0], [0.5], [90.0]]))
    assert kalman.to_tlwh(state)[:, 0].tolist() == [37.5, 0.0, 45.0, 90.0]


def test_no_tracks_is_a_state_too() -> None:
    empty = kalman.initiate(np.zeros((4, 0)))
    assert kalman.update(kalman.predict(empty), np.zeros((4, 0))).shape == (5, 4, 0)
    assert kalman.to_tlwh(empty).shape == (4, 0)
