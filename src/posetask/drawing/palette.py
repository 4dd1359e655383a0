"""Colours of people: twelve that stay apart, also for the colour-blind, and bright enough to carry dark text.

They were chosen by hand, then ordered by a search so that ids which follow one another, and so are
often in one picture, differ most in OKLab under normal vision and under simulated protanopia,
deuteranopia and tritanopia (matrices of Machado, Oliveira and Fernandes, 2009). Twelve is about as many
as can be told apart at a glance; the thirteenth person shares the first one's, and the label decides.
"""

from __future__ import annotations

BGR = tuple[int, int, int]
"""Blue, green, red, 0 to 255: OpenCV's order."""

INK: BGR = (24, 20, 18)
"""Near black: halos, and the text on a label."""

_RGB = (
    (64, 180, 255),
    (255, 80, 160),
    (255, 170, 20),
    (150, 250, 220),
    (232, 84, 236),
    (40, 212, 196),
    (170, 235, 60),
    (255, 112, 56),
    (172, 140, 255),
    (255, 180, 225),
    (80, 120, 255),
    (255, 232, 90),
)

PALETTE: tuple[BGR, ...] = tuple((b, g, r) for r, g, b in _RGB)


def color_of(track_id: int) -> BGR:
    """Colour of a person; the same id has the same colour in every frame and every run.

    >>> color_of(1) == color_of(13), color_of(1) == color_of(2)
    (True, False)
    """
    return PALETTE[(track_id - 1) % len(PALETTE)]


def mix(color: BGR, other: BGR, share: float) -> BGR:
    """``share`` of ``other`` in ``color``, channel by channel.

    >>> mix((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    b, g, r = (round(a + (o - a) * share) for a, o in zip(color, other, strict=True))
    return b, g, r
