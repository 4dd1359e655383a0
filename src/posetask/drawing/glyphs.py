"""Text for labels: digits and a few signs, drawn by us from strokes.

OpenCV's own text differs between 4.x (Hershey's plotter strokes) and 5.x (a TrueType font under the same
names), and the former is crude at label sizes. Here a glyph is a set of polylines in a unit box, and a
pixel's coverage follows from its distance to them: smooth at every size, and the same everywhere.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.float32]
"""``(height, width)`` float32 coverage, 0 to 1."""

Point = tuple[float, float]

WEIGHT = 0.17
"""Stroke width as a share of the text's height."""

_ADVANCE = 0.78
_NARROW = 0.40


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Points of an elliptic arc; degrees clockwise from 3 o'clock, since y points down."""
    steps = max(2, int(abs(end - start) / 12) + 1)
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _curve(a: Point, control: Point, b: Point) -> list[Point]:
    """Points of a quadratic Bezier curve."""
    out = []
    for i in range(9):
        t = i / 8
        p, q, r = (1 - t) ** 2, 2 * t * (1 - t), t * t
        out.append((p * a[0] + q * control[0] + r * b[0], p * a[1] + q * control[1] + r * b[1]))
    return out


_SIX = [
    _curve((0.43, 0.0), (0.02, 0.30), (0.0, 0.69)),
    _arc(0.28, 0.69, 0.28, 0.31, 0, 360),
]

# Strokes by character, x from 0 to 0.56, y from 0 (top) to 1 (baseline), along the stroke's centre.
_STROKES: dict[str, list[list[Point]]] = {
    "0": [
        _arc(0.28, 0.30, 0.28, 0.30, 180, 360) + _arc(0.28, 0.70, 0.28, 0.30, 0, 180) + [(0.0, 0.30)],
    ],
    "1": [[(0.08, 0.20), (0.33, 0.0), (0.33, 1.0)]],
    "2": [[*_arc(0.28, 0.28, 0.27, 0.28, -165, 38), (0.01, 1.0), (0.56, 1.0)]],
    "3": [
        _arc(0.26, 0.25, 0.24, 0.25, -150, 90),
        _arc(0.26, 0.74, 0.29, 0.26, -90, 150),
        [(0.16, 0.49), (0.27, 0.49)],
    ],
    "4": [[(0.43, 1.0), (0.43, 0.0), (0.0, 0.70), (0.58, 0.70)]],
    "5": [[(0.50, 0.0), (0.09, 0.0), (0.05, 0.44), *_arc(0.26, 0.68, 0.29, 0.32, -125, 145)]],
    "6": _SIX,
    "7": [[(0.0, 0.0), (0.55, 0.0), (0.18, 1.0)]],
    "8": [_arc(0.28, 0.25, 0.23, 0.25, 0, 360), _arc(0.28, 0.74, 0.28, 0.26, 0, 360)],
    "9": [[(0.56 - x, 1.0 - y) for x, y in stroke] for stroke in _SIX],
    "#": [
        [(0.20, 0.06), (0.11, 0.94)],
        [(0.47, 0.06), (0.38, 0.94)],
        [(0.02, 0.34), (0.58, 0.34)],
        [(0.0, 0.66), (0.56, 0.66)],
    ],
    ":": [[(0.09, 0.30), (0.09, 0.30)], [(0.09, 0.86), (0.09, 0.86)]],
    ".": [[(0.09, 0.98), (0.09, 0.98)]],
    "-": [[(0.06, 0.54), (0.50, 0.54)]],
    " ": [],
}

CHARACTERS = "".join(_STROKES)
"""What can be written."""


def _advance(char: str) -> float:
    return _NARROW if char in ":. " else _ADVANCE


def text_width(text: str, height: int) -> int:
    """Width in pixels of :func:`text_mask`'s picture; digits all have the same.

    >>> text_width("11", 10) == text_width("48", 10)
    True
    """
    tail = _ADVANCE - 0.56 - WEIGHT
    return max(1, math.ceil((sum(map(_advance, text)) - tail) * (height / (1 + WEIGHT))))


@lru_cache(maxsize=512)
def text_mask(text: str, height: int) -> Mask:
    """Coverage of ``text`` (see :data:`CHARACTERS`), ``height`` pixels from top to baseline.

    Returns:
        ``(height, text_width)`` float32, read-only; shared between calls.

    Raises:
        KeyError: A character that has no glyph.

    >>> mask = text_mask("7", 12)
    >>> mask.shape == (12, text_width("7", 12)), float(mask.max())
    (True, 1.0)
    """
    scale = height / (1 + WEIGHT)
    radius = max(WEIGHT * scale / 2, 0.62)  # thinner than this reads as grey
    starts: list[Point] = []
    ends: list[Point] = []
    pen = WEIGHT / 2
    for char in text:
        for stroke in _STROKES[char]:
            placed = [(x + pen, y + WEIGHT / 2) for x, y in stroke]
            starts += placed[:-1]
            ends += placed[1:]
        pen += _advance(char)
    mask = np.zeros((height, text_width(text, height)), np.float32)
    yy, xx = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32) + 0.5
    for (ax, ay), (bx, by) in zip(starts, ends, strict=True):
        distance = _to_segment(xx, yy, ax * scale, ay * scale, bx * scale, by * scale)
        np.maximum(mask, np.clip(radius + 0.5 - distance, 0, 1), out=mask)
    mask.setflags(write=False)
    return mask


def _to_segment(xx: Mask, yy: Mask, ax: float, ay: float, bx: float, by: float) -> Mask:
    """Distance of every pixel's centre to the segment from a to b."""
    dx, dy = bx - ax, by - ay
    along = ((xx - ax) * dx + (yy - ay) * dy) / (dx * dx + dy * dy or 1.0)
    t = np.clip(along, 0, 1)
    return np.hypot(xx - ax - t * dx, yy - ay - t * dy).astype(np.float32)
