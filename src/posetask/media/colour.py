"""Decoded frames to upright BGR: matrix, range, depth, size and orientation."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from posetask.media.filters import Chain, tone_mapper
from posetask.media.hdr import Hdr, transfer
from posetask.media.orientation import Orientation
from posetask.messages import Image

# ITU-T H.273 table 4, matrix coefficients that swscale knows, to its own constants.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_HD_LINES = 720
_THREADED_PIXELS = 1_500_000


def matrix(frame: av.VideoFrame, *, still: bool = False) -> Colorspace:
    """Name the frame's luma-chroma matrix; where it is not said, BT.709 from 720 lines on, else BT.601.

    Still images are BT.601 unless they say otherwise (JFIF, WebP).
    """
    unsaid = Colorspace.ITU709 if frame.height >= _HD_LINES and not still else Colorspace.ITU601
    return _MATRICES.get(int(frame.colorspace), unsaid)


class Converter:
    """Turns decoded frames into BGR pictures of one size.

    Args:
        width: Of the stored picture (before turning it upright), in pixels; other frames are scaled to it.
        height: The same.
        threads: Threads for large pictures.
        still: For images rather than video, see :func:`matrix`.

    FFmpeg's swscale does depth, chroma and matrix in one pass, and the picture is a view of its result.
    Alpha is ignored. Frames tagged PQ or HLG go through :func:`~posetask.media.filters.tone_mapper`.
    """

    def __init__(self, width: int, height: int, threads: int, *, still: bool = False) -> None:
        self._still = still
        self.size = (width, height)
        self._threads = threads
        self._reformatter = VideoReformatter()
        self._planes = VideoReformatter()
        self._mapper: Chain | None = None
        self._mapped: str | None = None
        self._angle: int | None = None
        self._orientation = Orientation()

    def __call__(self, frame: av.VideoFrame) -> Image:
        """``(h, w, 3)`` uint8 BGR, upright, C-contiguous, read-only."""
        image = self.stored(frame)
        if self._angle != frame.rotation:
            self._angle, self._orientation = frame.rotation, Orientation.of_frame(frame)
        image = np.ascontiguousarray(self._orientation.apply(image))
        image.flags.writeable = False
        return image

    def stored(self, frame: av.VideoFrame) -> Image:
        """``(height, width, 3)`` uint8 BGR as it is stored, not turned; C-contiguous."""
        kind = transfer(int(frame.color_trc))
        if kind is not None:
            return self._hdr(frame, kind)
        out = self._convert(self._reformatter, frame, "bgr24").to_ndarray()
        return np.ascontiguousarray(out, dtype=np.uint8)

    def _hdr(self, frame: av.VideoFrame, kind: Hdr) -> Image:
        width, height = self.size
        wide = self._convert(self._planes, frame, "gbrp16le")
        if self._mapper is None or self._mapped != kind:
            self._mapper = tone_mapper(wide, kind, Fraction(1, 1000), self._threads)
            self._mapped = kind
        wide.pts, wide.time_base = 0, Fraction(1, 1000)
        (mapped,) = self._mapper.push(wide)
        image = np.empty((height, width, 3), np.uint8)
        for channel, plane in zip((1, 0, 2), mapped.planes, strict=True):  # planes are G, B, R
            rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)  # type: ignore[call-overload]
            image[:, :, channel] = rows[:, 1 : 2 * width : 2]  # high bytes of little-endian samples
        return image

    def _convert(
        self, reformatter: VideoReformatter, frame: av.VideoFrame, pixel_format: str
    ) -> av.VideoFrame:
        width, height = self.size
        # yuvj and RGB say themselves that they are full range; the rest is limited unless tagged.
        full = frame.format.is_rgb or frame.format.name.startswith(("yuvj", "pal", "mono"))
        unsaid = None if full else ColorRange.MPEG
        return reformatter.reformat(
            frame,
            width,
            height,
            pixel_format,
            src_colorspace=matrix(frame, still=self._still),
            src_color_range=int(frame.color_range) or unsaid,
            threads=self._threads if width * height >= _THREADED_PIXELS else 1,
        )
