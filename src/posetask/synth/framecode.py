"""A frame number that is burnt into the pixels and survives a codec.

Forty cells, two rows of twenty, in the top-right corner, each a 64th of the picture's width (so the code
scales with the picture): 4 guard cells (white, black, black, white), 20 bits of the number, 16 bits of
CRC-16/CCITT-FALSE over the number. White is 1. The CRC and the guard make a misread a ``None``.
"""

from __future__ import annotations

import binascii

import cv2
import numpy as np
import numpy.typing as npt

from posetask.synth.paint import Picture

LIMIT = 1 << 20
"""Frame numbers run from 0 to this, exclusive."""

_COLUMNS, _ROWS, _CELLS_ACROSS = 20, 2, 64
_GUARD = (1, 0, 0, 1)
_MIN_WIDTH = 2 * _CELLS_ACROSS


def _crc(number: int) -> int:
    return binascii.crc_hqx(number.to_bytes(3, "big"), 0xFFFF)


def _bits(number: int) -> npt.NDArray[np.uint8]:
    word = number << 16 | _crc(number)
    bits = [*_GUARD, *((word >> k) & 1 for k in range(35, -1, -1))]
    return np.array(bits, np.uint8).reshape(_ROWS, _COLUMNS)


def _edges(width: int) -> tuple[list[int], list[int]]:
    """Pixel columns and rows where cells begin and end."""
    cell = width / _CELLS_ACROSS
    columns = [round(width - (_COLUMNS - k + 0.5) * cell) for k in range(_COLUMNS + 1)]
    rows = [round((k + 0.5) * cell) for k in range(_ROWS + 1)]
    return columns, rows


def code_box(width: int) -> tuple[int, int, int, int]:
    """Where the code and its black margin stand, in pixels: left, top, right, bottom."""
    columns, rows = _edges(width)
    margin = max(1, round(width / _CELLS_ACROSS / 4))
    return columns[0] - margin, max(0, rows[0] - margin), min(width, columns[-1] + margin), rows[-1] + margin


def write_frame_number(image: Picture, number: int) -> None:
    """Burn a number into a picture, in place.

    Args:
        image: ``(H, W, 3)`` uint8, at least 128 pixels wide.
        number: 0 to :data:`LIMIT` - 1.

    Raises:
        ValueError: The number does not fit, or the picture is too small.

    >>> image = np.full((90, 160, 3), 128, np.uint8)
    >>> write_frame_number(image, 1234)
    >>> read_frame_number(image)
    1234
    """
    if not 0 <= number < LIMIT:
        raise ValueError(f"frame number {number} is not in 0..{LIMIT - 1}")
    height, width = image.shape[:2]
    x0, y0, x1, y1 = code_box(width)
    if width < _MIN_WIDTH or y1 > height:
        raise ValueError(f"a {width}x{height} picture is too small for a frame number")
    image[y0:y1, x0:x1] = 0
    columns, rows = _edges(width)
    for j, row in enumerate(_bits(number)):
        for i, bit in enumerate(row):
            image[rows[j] : rows[j + 1], columns[i] : columns[i + 1]] = 235 * int(bit) + 10


def read_frame_number(image: Picture) -> int | None:
    """Read a number that :func:`write_frame_number` burnt in, from a decoded picture of any size.

    Args:
        image: ``(H, W, 3)`` uint8.

    Returns:
        The number, or None where there is none, or where it does not read without doubt.
    """
    height, width = image.shape[:2]
    _, _, _, bottom = code_box(width)
    if width < _MIN_WIDTH or bottom > height:
        return None
    columns, rows = _edges(width)
    grey = cv2.cvtColor(image[:bottom], cv2.COLOR_BGR2GRAY).astype(np.float32)
    levels = np.empty((_ROWS, _COLUMNS))
    for j in range(_ROWS):
        for i in range(_COLUMNS):
            # the middle half of each cell: the codec smears the rims
            h, w = rows[j + 1] - rows[j], columns[i + 1] - columns[i]
            cell = grey[
                rows[j] + h // 4 : rows[j + 1] - h // 4, columns[i] + w // 4 : columns[i + 1] - w // 4
            ]
            levels[j, i] = cell.mean()
    flat = levels.reshape(-1)
    white, black = min(flat[0], flat[3]), max(flat[1], flat[2])
    if white - black < 60:
        return None
    bits = flat > (white + black) / 2
    word = int("".join("1" if bit else "0" for bit in bits[len(_GUARD) :]), 2)
    number, crc = word >> 16, word & 0xFFFF
    return number if crc == _crc(number) else None
