"""What is drawn, and how thick: the links of the skeleton, and the sizes that follow from the frame."""

from __future__ import annotations

import math
from dataclasses import replace

from posetask.messages import COCO_17

DRAWN = replace(COCO_17, links=tuple(link for link in COCO_17.links if link != (1, 2)))
"""COCO's skeleton as it is drawn: a line from eye to eye would only blot a small face."""


def line_width(width: int, height: int) -> int:
    """Thickness of limbs and boxes in pixels for a frame of ``width`` x ``height``.

    >>> [line_width(*size) for size in ((320, 240), (960, 540), (1920, 1080), (3840, 2160))]
    [1, 2, 4, 8]
    """
    return max(1, round(min(width, height) / 270))


def label_height(width: int, height: int) -> int:
    """Height of a label in pixels: never under 12 or 2 % of the shorter side, and a little more between.

    >>> [label_height(*size) for size in ((320, 240), (960, 540), (1920, 1080), (3840, 2160))]
    [12, 17, 26, 44]
    """
    side = min(width, height)
    return max(12, math.ceil(side * 0.02), round(8 + side / 60))
