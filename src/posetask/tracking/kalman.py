"""ByteTrack's Kalman filter for all tracks at once.

State and noise are those of SORT-style trackers (Wojke et al. 2017, "Simple Online and Realtime
Tracking with a Deep Association Metric"): centre x, centre y, aspect w/h and height, each with a
velocity per frame; standard deviations are a fraction of the height. Motion, observation and all noise
matrices link a coordinate only with its own velocity, so the 8x8 filter falls apart into four filters
of 2x2, exactly. A covariance is then three numbers a coordinate, and every step is a handful of
element-wise operations over all tracks.

A ``State`` is float64 ``(5, 4, T)``: what (:data:`POSITION`, :data:`VELOCITY`, and the covariance's
:data:`VAR_POSITION`, :data:`COVARIANCE`, :data:`VAR_VELOCITY`) x coordinate (cx, cy, a, h) x track.
Units are pixels and pixels a frame; a has none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

State = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float64]

POSITION, VELOCITY, VAR_POSITION, COVARIANCE, VAR_VELOCITY = range(5)
ASPECT, HEIGHT = 2, 3

_POSITION_SHARE = 1 / 20
_VELOCITY_SHARE = 1 / 160


def _variances(position: float, velocity: float, aspect: float, aspect_velocity: float) -> tuple[Rows, Rows]:
    """``(3, 4, 1)`` each: what multiplies h squared, and what is added, for the covariance's three rows."""
    of_height = np.zeros((3, 4, 1))
    of_height[0], of_height[2] = position**2, velocity**2
    of_height[:, ASPECT] = 0.0
    constant = np.zeros((3, 4, 1))
    constant[0, ASPECT], constant[2, ASPECT] = aspect**2, aspect_velocity**2
    return of_height, constant


_START = _variances(2 * _POSITION_SHARE, 10 * _VELOCITY_SHARE, 1e-2, 1e-5)
_PROCESS = _variances(_POSITION_SHARE, _VELOCITY_SHARE, 1e-2, 1e-5)
_MEASURE = tuple(rows[0] for rows in _variances(_POSITION_SHARE, 0.0, 1e-1, 0.0))


def initiate(xyah: Rows) -> State:
    """Start filters at measurements, at rest.

    Args:
        xyah: ``(4, T)``: centre x, centre y, width / height, height.

    Returns:
        ``(5, 4, T)``.

    >>> initiate(np.array([[50.0], [60.0], [0.5], [100.0]]))[VAR_POSITION, :, 0].round(6).tolist()
    [100.0, 100.0, 0.0001, 100.0]
    """
    of_height, constant = _START
    state = np.zeros((5, *xyah.shape))
    state[POSITION] = xyah
    state[VAR_POSITION:] = of_height * xyah[HEIGHT] ** 2 + constant
    return state


def predict(state: State) -> State:
    """Go one frame on: constant velocity, with the noise of the height before the step."""
    of_height, constant = _PROCESS
    out = state.copy()
    out[POSITION] += state[VELOCITY]
    covariance, var_velocity = state[COVARIANCE], state[VAR_VELOCITY]
    out[COVARIANCE] += var_velocity
    out[VAR_POSITION] += covariance
    out[VAR_POSITION] += out[COVARIANCE]
    height = state[POSITION, HEIGHT]
    out[VAR_POSITION:] += of_height * (height * height) + constant
    return out


def update(state: State, xyah: Rows) -> State:
    """Correct filters with one measurement each.

    Args:
        state: ``(5, 4, T)``, predicted.
        xyah: ``(4, T)``, measured.
    """
    of_height, constant = _MEASURE
    height = state[POSITION, HEIGHT]
    spread = state[VAR_POSITION] + of_height * (height * height) + constant
    gain = state[VAR_POSITION : COVARIANCE + 1] / spread
    out = state.copy()
    out[POSITION : VELOCITY + 1] += gain * (xyah - state[POSITION])
    # rows (p, c) of the covariance lose gain_p * (p, c); v loses gain_v * c
    out[VAR_POSITION : COVARIANCE + 1] -= gain[0] * state[VAR_POSITION : COVARIANCE + 1]
    out[VAR_VELOCITY] -= gain[1] * state[COVARIANCE]
    return out


def to_tlwh(state: State) -> Rows:
    """``(4, T)``: left, top, width, height in pixels."""
    x, y, aspect, height = state[POSITION]
    out = np.empty((4, state.shape[2]))
    np.multiply(aspect, height, out=out[2])
    out[3] = height
    out[:2] = (x, y)
    out[:2] -= out[2:] / 2
    return out
