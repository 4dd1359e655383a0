"""Several pictures side by side, for a page or a README."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from posetask.messages import Image


def strip(pictures: Sequence[Image], width: int = 1280, gap: int = 4) -> Image:
    """Pictures of one size, left to right, in the order of reading: two a row from four on.

    Args:
        pictures: ``(height, width, 3)`` uint8 BGR, at least one, all of the same size.
        width: Of the result, pixels.
        gap: White pixels between two.

    >>> strip([np.zeros((90, 160, 3), np.uint8)] * 4, width=324).shape
    (184, 324, 3)
    """
    columns = len(pictures) if len(pictures) < 4 else 2
    cell = (width - gap * (columns - 1)) // columns
    height = round(pictures[0].shape[0] * cell / pictures[0].shape[1])
    rows = -(-len(pictures) // columns)
    canvas = np.full(
        (rows * height + gap * (rows - 1), columns * cell + gap * (columns - 1), 3), 255, np.uint8
    )
    for i, picture in enumerate(pictures):
        y, x = (i // columns) * (height + gap), (i % columns) * (cell + gap)
        canvas[y : y + height, x : x + cell] = cv2.resize(
            picture, (cell, height), interpolation=cv2.INTER_AREA
        )
    return canvas
