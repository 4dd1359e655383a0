"""What a user's file may ask of us before the first picture is decoded.

A 199 kB MP4 can unfold into 6 GB of pictures, a header can declare 24 hours, a crafted file can list
100,000 tracks. Each bound is checked on the container's claims before any decoder runs, and the pixel
and duration bounds a second time on what the decoder finds, because a header can lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from posetask.errors import InvalidParameters, TooLong, TooManyPixels, TooManyStreams

DEMUXERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "gif")
"""FFmpeg's names of the containers that may be opened; none of them names other files or hosts."""

IMAGES = ("jpeg", "png", "webp", "bmp", "tiff")
"""Still image formats that may be read."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Bounds on one input. Crossing one is an :class:`~posetask.errors.InputError`, never a truncation.

    Attributes:
        max_pixels: Width times height of a stored picture, in pixels; at least 1. The default admits
            8192x4320 and refuses 8192x8192. :class:`TooManyPixels`.
        max_side: The longer side of a stored picture, in pixels; at least 1. H.264 ends at 16384, and a
            strip of 16384x16 is no picture of people. :class:`TooManyPixels`.
        max_seconds: Declared and presented duration, in seconds; above 0. Default 12 hours.
            :class:`TooLong`.
        max_streams: Streams of all kinds in the container; at least 1. :class:`TooManyStreams`.
        demuxers: Containers that may be opened, FFmpeg's names, a subset of :data:`DEMUXERS`.
            :class:`FormatNotAllowed`.
        images: Image formats that may be read, a subset of :data:`IMAGES`. :class:`FormatNotAllowed`.
        protocols: Ways in which FFmpeg may reach bytes. ``file`` alone: no file that we open causes a
            connection.

    Raises:
        InvalidParameters: A bound is out of its own bounds.
    """

    max_pixels: int = 8192 * 4320
    max_side: int = 16000
    max_seconds: float = 12 * 3600.0
    max_streams: int = 32
    demuxers: tuple[str, ...] = DEMUXERS
    images: tuple[str, ...] = IMAGES
    protocols: tuple[str, ...] = ("file",)

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_side < 1 or self.max_streams < 1 or not self.max_seconds > 0:
            raise InvalidParameters(
                "limits must be positive", hint="max_pixels, max_side, max_streams and max_seconds"
            )
        for name, asked, known in (
            ("container", self.demuxers, DEMUXERS),
            ("image format", self.images, IMAGES),
            ("protocol", self.protocols, ("file",)),
        ):
            if unknown := sorted(set(asked) - set(known)):
                raise InvalidParameters(
                    f"{', '.join(unknown)}: no {name} that can be allowed", hint=f"one of {', '.join(known)}"
                )

    @property
    def decoder_pixels(self) -> int:
        """Bound given to the decoder itself, in pixels.

        Decoders count the coded picture, which is padded to whole blocks, so theirs is a little wider;
        :meth:`check_size` is exact.
        """
        return self.max_pixels + self.max_pixels // 4 + 65536

    def check_size(self, uri: str, width: int, height: int) -> None:
        """Refuse a picture of ``width`` x ``height`` pixels that is too large.

        Raises:
            TooManyPixels: With the size and the bound.

        >>> MediaLimits().check_size("in.mp4", 8192, 4320)
        >>> MediaLimits().check_size("in.mp4", 8192, 8192)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        posetask.errors.TooManyPixels: in.mp4 has pictures of 8192x8192, more than 35389440 pixels; scale ...
        """
        if width * height > self.max_pixels:
            raise TooManyPixels(
                f"{uri} has pictures of {width}x{height}, more than {self.max_pixels} pixels",
                hint="scale it down first",
            )
        if max(width, height) > self.max_side:
            raise TooManyPixels(
                f"{uri} has pictures of {width}x{height}, a side is at most {self.max_side} pixels",
                hint="scale it down first",
            )

    def check_seconds(self, uri: str, seconds: float | Fraction | None) -> None:
        """Refuse a duration that is too long; None (unknown) passes.

        Raises:
            TooLong: With the duration and the bound.
        """
        if seconds is not None and seconds > self.max_seconds:
            raise TooLong(
                f"{uri} lasts {float(seconds):.0f} s, at most {self.max_seconds:.0f} s are read",
                hint="cut it into parts first",
            )

    def check_streams(self, uri: str, streams: int) -> None:
        """Refuse a container with too many streams.

        Raises:
            TooManyStreams: With the count and the bound.
        """
        if streams > self.max_streams:
            raise TooManyStreams(
                f"{uri} has {streams} streams or more, at most {self.max_streams} are read",
                hint="keep the video alone: ffmpeg -i IN -map 0:v:0 -c copy OUT",
            )
