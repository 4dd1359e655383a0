"""Labels: where one goes, what it looks like, and how it gets onto the frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posetask.drawing.glyphs import Mask, text_mask
from posetask.drawing.palette import BGR, INK
from posetask.messages import Image


class Rect(NamedTuple):
    """Whole pixels: left, top, and one past the last column and row."""

    left: int
    top: int
    right: int
    bottom: int

    def overlap(self, other: Rect) -> int:
        """Pixels in common.

        >>> Rect(0, 0, 4, 4).overlap(Rect(2, 3, 9, 9)), Rect(0, 0, 4, 4).overlap(Rect(4, 0, 8, 4))
        (2, 0)
        """
        left, top, right, bottom = self
        if left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom:
            return 0
        return (min(right, other[2]) - max(left, other[0])) * (min(bottom, other[3]) - max(top, other[1]))


def place_label(
    anchor: tuple[float, float],
    size: tuple[int, int],
    frame: tuple[int, int],
    taken: Sequence[Rect] = (),
) -> Rect | None:
    """Find room for a label above a point, inside the frame, and clear of other labels where that is near.

    Args:
        anchor: ``(x, y)`` in pixels; the middle of the label's lower edge, if nothing stands against it. May
            lie far outside the frame.
        size: ``(width, height)`` of the label.
        frame: ``(width, height)`` of the frame.
        taken: Labels placed before.

    Returns:
        The label's place, wholly inside the frame; of those tried, the first that covers no other label, or
        else the one that covers least. None if the label is larger than the frame, or the anchor is not
        finite.

    >>> place_label((50, 40), (20, 12), (100, 80))
    Rect(left=40, top=28, right=60, bottom=40)
    >>> place_label((-900, -900), (20, 12), (100, 80))
    Rect(left=0, top=0, right=20, bottom=12)
    >>> place_label((50, 40), (20, 12), (100, 80), [Rect(40, 28, 60, 40)])
    Rect(left=40, top=15, right=60, bottom=27)
    """
    (x, y), (width, height), (frame_width, frame_height) = anchor, size, frame
    if width > frame_width or height > frame_height or not (math.isfinite(x) and math.isfinite(y)):
        return None
    x = min(max(x, 0.0), float(frame_width))
    y = min(max(y, 0.0), float(frame_height))
    best, least = None, 0
    for dx, dy in _offsets(width, height):
        left = min(max(round(x - width / 2 + dx), 0), frame_width - width)
        top = min(max(round(y - height + dy), 0), frame_height - height)
        place = Rect(left, top, left + width, top + height)
        right, bottom, covered = left + width, top + height, 0
        for other in taken:  # spelt out: with a crowd this is the inner loop of the whole picture
            if left < other[2] and other[0] < right and top < other[3] and other[1] < bottom:
                covered += place.overlap(other)
                if best is not None and covered >= least:
                    break
        if covered == 0:
            return place
        if best is None or covered < least:
            best, least = place, covered
    return best


def _offsets(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Where to try, nearest first: above, half a label and a whole one aside, higher, lower."""
    up, aside = height + 1, width + 1
    yield 0, 0
    yield 0, -up
    for dy in (0, -up, up):
        for dx in (aside // 2, -aside // 2, aside, -aside):
            yield dx, dy
    yield 0, up
    yield 0, -2 * up
    yield 0, 2 * up


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """A small picture with soft edges, ready to be laid onto a frame.

    Attributes:
        ink: ``(h, w, 3)`` uint16, the colour times its opacity, 0 to 255 * 256.
        clear: ``(h, w, 1)`` uint16, 256 minus the opacity.
    """

    ink: npt.NDArray[np.uint16]
    clear: npt.NDArray[np.uint16]

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)``."""
        return self.ink.shape[1], self.ink.shape[0]

    def onto(self, image: Image, place: Rect) -> None:
        """Blend it into ``image`` at ``place``, which must lie inside and have the stamp's size."""
        region = image[place.top : place.bottom, place.left : place.right]
        blended = region * self.clear  # at most 255 * 256: uint16 holds it
        blended += self.ink
        blended >>= 8
        region[...] = blended


def label_stamp(text: str, height: int, fill: BGR, ink: BGR = INK, *, opacity: float = 1.0) -> Stamp:
    """Make a rounded plate with ``text`` in its middle, and a thin dark rim against light video.

    Args:
        text: Digits and the signs of :data:`posetask.drawing.glyphs.CHARACTERS`.
        height: Of the plate, in pixels.
        fill: Colour of the plate.
        ink: Colour of the text.
        opacity: Of the plate; text is always opaque.
    """
    rim = max(1.0, height / 24)
    inner = max(6, round(height * 0.60))
    if (height - inner) % 2:  # the same space above and below
        inner += 1
    glyphs = text_mask(text, inner)
    pad = max(3, round(height * 0.28))
    width = max(height, glyphs.shape[1] + 2 * pad)
    plate = _rounded(width, height, 0.0, height * 0.30)
    face = _rounded(width, height, rim, height * 0.30 - rim)
    letters = np.zeros((height, width), np.float32)
    left, top = (width - glyphs.shape[1]) // 2, (height - inner) // 2
    letters[top : top + inner, left : left + glyphs.shape[1]] = glyphs

    color = np.empty((height, width, 3), np.float32)
    color[...] = INK
    color += (np.array(fill, np.float32) - color) * face[..., None]
    color += (np.array(ink, np.float32) - color) * letters[..., None]
    alpha = np.maximum(plate * opacity, letters)
    quantised = np.rint(alpha * 256).astype(np.uint16)[..., None]
    return Stamp(np.floor(color * quantised).astype(np.uint16), 256 - quantised)


def _rounded(width: int, height: int, inset: float, radius: float) -> Mask:
    """Coverage of a rectangle with round corners, ``inset`` from the picture's edges."""
    yy, xx = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    radius = max(radius, 0.0)
    dx = np.abs(xx - width / 2) - (width / 2 - inset - radius)
    dy = np.abs(yy - height / 2) - (height / 2 - inset - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    inside = np.minimum(np.maximum(dx, dy), 0)
    coverage: Mask = np.clip(0.5 - (outside + inside - radius), 0, 1).astype(np.float32)
    return coverage
