"""Small painting tools over OpenCV: sub-pixel polygons, shaded layers, soft shadows.

Coordinates are continuous, (0, 0) being the corner of the top-left pixel; OpenCV puts (0, 0) in that
pixel's centre, so half a pixel is taken off at this border and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

_SHIFT = 4
_FAR = 1 << 14  # pixels; OpenCV's fixed point overflows long after this


def fixed(points: Array) -> npt.NDArray[np.int32]:
    """Continuous pixel coordinates as OpenCV's fixed point with four binary digits."""
    return np.asarray(np.rint((np.clip(points, -_FAR, _FAR) - 0.5) * (1 << _SHIFT)), np.int32)


def fill(image: Picture, points: npt.NDArray[np.int32], colour: Sequence[float]) -> None:
    """Fill one convex polygon, anti-aliased."""
    cv2.fillConvexPoly(image, points, colour, cv2.LINE_AA, _SHIFT)


def stamp(mask: Picture, points: npt.NDArray[np.int32], value: int) -> None:
    """Fill one convex polygon of a mask, hard-edged."""
    cv2.fillConvexPoly(mask, points, (value,), cv2.LINE_8, _SHIFT)


_HALF = np.linspace(0, np.pi, 7)
_ARC_COS, _ARC_SIN = np.cos(_HALF), np.sin(_HALF)
_ROUND = np.linspace(0, 2 * np.pi, 18, endpoint=False)
CIRCLE = np.stack([np.cos(_ROUND), np.sin(_ROUND)], -1)


def capsules(p: Array, q: Array, rp: Array, rq: Array) -> Array:
    """Outlines of tapered capsules.

    Args:
        p: ``(..., 2)`` one end.
        q: ``(..., 2)`` the other end.
        rp: ``(...)`` radius at ``p``.
        rq: ``(...)`` radius at ``q``.

    Returns:
        ``(..., 14, 2)`` convex polygons.
    """
    axis = q - p
    length = np.maximum(np.hypot(axis[..., 0], axis[..., 1]), 1e-6)
    u = axis / length[..., None]
    v = np.stack([-u[..., 1], u[..., 0]], -1)
    c, s = _ARC_COS[:, None], _ARC_SIN[:, None]
    end_q = q[..., None, :] + rq[..., None, None] * (c * v[..., None, :] + s * u[..., None, :])
    end_p = p[..., None, :] - rp[..., None, None] * (c * v[..., None, :] + s * u[..., None, :])
    return np.concatenate([end_q, end_p], -2)


def ellipse(centre: Array, u: Array, v: Array) -> Array:
    """``(18, 2)`` outline of an ellipse with half-axes ``u`` and ``v``."""
    return np.asarray(centre + CIRCLE[:, :1] * u + CIRCLE[:, 1:] * v)


def tone(colour: Sequence[float], gain: float) -> tuple[float, float, float]:
    """Make a colour darker or lighter; highlights bleach a little."""
    lift = max(0.0, gain - 1) * 60
    return tuple(min(255.0, max(0.0, c * gain + lift)) for c in colour)  # type: ignore[return-value]


_DISC: Picture = np.asarray(
    255
    * np.clip(1.2 - np.hypot(*np.meshgrid(np.linspace(-1.2, 1.2, 48), np.linspace(-1.2, 1.2, 48))), 0, 1)
    ** 1.3,
    np.uint8,
)


def shadow(image: Picture, x: float, y: float, rx: float, ry: float, strength: float) -> None:
    """Darken a soft ellipse on the floor."""
    x0, y0 = int(x - rx * 1.2), int(y - ry * 1.2)
    w, h = max(3, int(rx * 2.4)), max(3, int(ry * 2.4))
    cx0, cy0, cx1, cy1 = max(0, x0), max(0, y0), min(image.shape[1], x0 + w), min(image.shape[0], y0 + h)
    if cx0 >= cx1 or cy0 >= cy1 or w > 4 * image.shape[1]:
        return
    disc = cv2.resize(_DISC, (w, h), interpolation=cv2.INTER_LINEAR)[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0]
    keep = (
        cv2.convertScaleAbs(disc, alpha=-strength, beta=255)
        if strength < 0
        else 255 - cv2.convertScaleAbs(disc, alpha=strength)
    )
    region = image[cy0:cy1, cx0:cx1]
    cv2.multiply(region, cv2.merge([keep, keep, keep]), region, 1 / 255)
