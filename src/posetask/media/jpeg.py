"""The wire's JPEG: encode, decode, and the codec that ``--wire-codec`` names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import simplejpeg

from posetask.errors import InvalidParameters, NotAVideo, TooManyPixels, Truncated
from posetask.media.limits import MediaLimits
from posetask.messages import Image

Chroma = Literal["444", "422", "420"]

MAX_BYTES = 8 * 1024 * 1024 - 64 * 1024
"""Most bytes of one frame: a message may have 8 MiB, and its headers and framing need some."""

MAX_SIDE = 65_500
"""Most pixels a side, by libjpeg's own limit."""

_STEP = 10


def encode_jpeg(image: Image, quality: int = 90, chroma: Chroma = "420") -> bytes:
    """Encode a picture as baseline JPEG (JFIF, full-range BT.601).

    Args:
        image: ``(h, w, 3)`` uint8 BGR.
        quality: 1 to 100.
        chroma: Subsampling of the colour planes.

    Raises:
        InvalidParameters: Quality or subsampling is out of bounds.
        TooManyPixels: A side is longer than JPEG can say.
    """
    if not 1 <= quality <= 100 or chroma not in get_args(Chroma):
        raise InvalidParameters(
            f"no such JPEG: quality {quality}, chroma {chroma}", hint="1 to 100; 444, 422 or 420"
        )
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise TooManyPixels(f"JPEG cannot hold {width}x{height}", hint=f"at most {MAX_SIDE} pixels a side")
    contiguous = np.ascontiguousarray(image)
    return cast(
        bytes, simplejpeg.encode_jpeg(contiguous, quality=quality, colorspace="BGR", colorsubsampling=chroma)
    )


def decode_jpeg(data: bytes, *, limits: MediaLimits | None = None) -> Image:
    """Decode a JPEG.

    Args:
        data: The file's bytes.
        limits: What is refused before unpacking; a few bytes can claim four billion pixels.

    Returns:
        ``(h, w, 3)`` uint8 BGR; grey pictures come out as colour.

    Raises:
        NotAVideo: The bytes are no JPEG.
        Truncated: They begin as one, and end too early or are damaged.
        TooManyPixels: It claims more pixels than the limits allow.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise NotAVideo(f"{len(data)} bytes that are no JPEG ({error})", hint="send a JPEG file") from error
    (limits or MediaLimits()).check_size("the JPEG", width, height)
    try:
        return cast(Image, simplejpeg.decode_jpeg(data, colorspace="BGR"))
    except ValueError as error:
        raise Truncated(
            f"the JPEG of {len(data)} bytes is damaged ({error})", hint="send it again"
        ) from error


@dataclass(frozen=True, slots=True)
class WireCodec:
    """How frames travel in ``raw_frames``, by name: ``jpeg``, ``jpeg:90``, ``jpeg:95:444``.

    A frame that would exceed ``max_bytes`` is encoded again at lower quality, ten points at a time,
    and only then with 4:2:0 chroma: a worse picture instead of a run that fails on one frame.

    >>> WireCodec.parse("jpeg:95:444")
    WireCodec(quality=95, chroma='444')
    >>> str(WireCodec.parse("jpeg"))
    'jpeg:90'
    """

    quality: int = 90
    chroma: Chroma = "420"

    @classmethod
    def parse(cls, text: str) -> WireCodec:
        """Read a codec's name.

        Raises:
            InvalidParameters: It is no codec that we know.
        """
        match = re.fullmatch(r"jpeg(?::(\d{1,3}))?(?::(444|422|420))?", text)
        quality = int(match[1] or 90) if match else 0
        if match is None or not 1 <= quality <= 100:
            raise InvalidParameters(
                f"no wire codec {text!r}",
                hint="jpeg:QUALITY or jpeg:QUALITY:CHROMA, such as jpeg:90 or jpeg:95:444",
            )
        return cls(quality, cast(Chroma, match[2] or "420"))

    def __str__(self) -> str:
        return f"jpeg:{self.quality}" + (f":{self.chroma}" if self.chroma != "420" else "")

    def encode(self, image: Image, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Encode a frame in at most ``max_bytes``.

        Args:
            image: ``(h, w, 3)`` uint8 BGR.
            max_bytes: Of the JPEG.

        Raises:
            TooManyPixels: It does not fit at any quality.
        """
        attempts = [(q, self.chroma) for q in (self.quality, *range(self.quality - _STEP, 0, -_STEP), 1)]
        for quality, chroma in [*attempts, (1, "420")]:
            data = encode_jpeg(image, quality, chroma)
            if len(data) <= max_bytes:
                return data
        height, width = image.shape[:2]
        raise TooManyPixels(
            f"a frame of {width}x{height} does not fit into {max_bytes} bytes at any quality",
            hint="scale it down",
        )

    def decode(self, data: bytes) -> Image:
        """Decode what :meth:`encode` made; errors as :func:`decode_jpeg`."""
        return decode_jpeg(data)

    def round_trip(self, image: Image) -> Image:
        """Give what a consumer at the other end of the wire sees of ``image``."""
        return self.decode(self.encode(image))
