"""BGR pictures to the 4:2:0 pictures that an H.264 encoder takes, with colours that players show right."""

from __future__ import annotations

from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from posetask.messages import Image

HD_LINES = 720


@dataclass(frozen=True, slots=True)
class ColourTags:
    """What the stream says of its colours; code points of ITU-T H.273, as FFmpeg numbers them.

    Primaries and transfer are BT.709's whatever the size, because the pixels that we draw on are
    treated as sRGB-like everywhere; only the matrix follows the size, as players assume.
    """

    matrix: int
    primaries: int = int(ColorPrimaries.BT709)
    transfer: int = int(ColorTrc.BT709)
    range: int = int(ColorRange.MPEG)  # limited: luma 16 to 235

    @classmethod
    def for_height(cls, height: int) -> ColourTags:
        """BT.709's matrix from 720 lines on, BT.601's (code point 6) below.

        >>> ColourTags.for_height(1080).matrix, ColourTags.for_height(540).matrix
        (1, 6)
        """
        return cls(matrix=1 if height >= HD_LINES else 6)


def even_size(width: int, height: int) -> tuple[int, int]:
    """Size of the stream: 4:2:0 halves the chroma, so both sides are even.

    >>> even_size(641, 360)
    (642, 360)
    """
    return width + width % 2, height + height % 2


class YuvConverter:
    """``(h, w, 3)`` BGR to yuv420p, limited range; chroma is the mean of each 2x2 block.

    An odd side is made even by repeating its last row or column, on the right and at the bottom,
    so that every pixel of the source keeps its place.

    Args:
        width: Pixels of the pictures.
        height: The same.
    """

    def __init__(self, width: int, height: int) -> None:
        self.tags = ColourTags.for_height(height)
        self._odd = (height % 2, width % 2)
        even_width, even_height = even_size(width, height)
        self._padded = np.empty((even_height, even_width, 3), np.uint8) if any(self._odd) else None
        self._reformatter = VideoReformatter()
        self._matrix = Colorspace.ITU709 if self.tags.matrix == 1 else Colorspace.ITU601

    def __call__(self, image: Image) -> av.VideoFrame:
        """Convert one picture; its memory is not looked at again after this returns."""
        if self._padded is not None:
            bottom, right = self._odd
            cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE, dst=self._padded)
            image = self._padded
        source = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")
        return self._reformatter.reformat(
            source,
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=self._matrix,
            threads=1,  # more only add hand-overs: measured 0.8 ms of CPU for 960x540, against 1.5
        )
