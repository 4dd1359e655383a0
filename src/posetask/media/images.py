"""Reading still images: one, or a sequence of the same size, with the face of a video reader."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import simplejpeg
from av.video.codeccontext import VideoCodecContext

from posetask.errors import FormatNotAllowed, InputError, InvalidParameters, TooManyPixels, Truncated
from posetask.media.colour import Converter
from posetask.media.frames import DecodedFrame, check_range
from posetask.media.headers import ImageHeader, read_header
from posetask.media.limits import MediaLimits
from posetask.media.reader import FrameReader
from posetask.media.sniff import check_regular, refusal, sniff
from posetask.messages import DecodeReport, Image, SourceInfo

_FASTEST = 1000
_SLACK_BYTES = 1 << 26


class _Listed(NamedTuple):
    path: Path
    format: str
    header: ImageHeader | None  # None: cut short within its header


class _Decoded(NamedTuple):
    image: Image
    pixel_format: str
    problem: str


class ImageReader(FrameReader):
    """Iterates over still images as if they were the frames of a video.

    The constructor reads every header and decodes the first image. Alpha is ignored, palettes are resolved,
    deeper samples become 8 bits, Exif's orientation is applied. An image of a sequence that cannot be
    decoded leaves a gap in time and is reported as damage; a JPEG that is cut short is handed on as far as
    it goes, and reported.

    Args:
        paths: In the order in which they are shown.
        limits: See :class:`~posetask.media.limits.MediaLimits`.
        frame_rate: Images per second, above 0, at most 1000.
        start: Seconds to skip.
        duration: Seconds to read from there; None reads to the end.
        max_frames: Images to read at most; None reads all.

    Attributes:
        info: ``container`` is ``image``, the time base is one image.
        report: What decoding came to; final when the iteration has ended.

    Raises:
        InputError: The images differ in size, or one is refused; see ``docs/inputs.md``.
        InvalidParameters: A parameter is out of its bounds, or ``start`` lies behind the end.
        Truncated: None of the images can be decoded.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        limits: MediaLimits | None = None,
        frame_rate: float = 25.0,
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        super().__init__()
        check_range(start, duration, max_frames)
        if not 0 < frame_rate <= _FASTEST:
            raise InvalidParameters(f"frame_rate is {frame_rate}", hint=f"above 0, at most {_FASTEST}")
        if not paths:
            raise InvalidParameters("there are no images", hint="give at least one")
        self._limits = limits or MediaLimits()
        self._rate = Fraction(frame_rate).limit_denominator(1001)
        self._limits.check_seconds(str(paths[0].parent), len(paths) / self._rate)
        self._images = [self._list(Path(path)) for path in paths]
        self._check_sizes()
        first = math.ceil(start * self._rate - Fraction(1, 100))
        end = (
            len(paths) if duration is None else math.ceil((start + duration) * self._rate - Fraction(1, 100))
        )
        self._range = range(first, min(max(end, first + 1), len(paths)))
        if not self._range:
            raise InvalidParameters(
                f"start is {start} s, but {len(paths)} images last {float(len(paths) / self._rate):.2f} s",
                hint="give a smaller start",
            )
        self._max_frames = max_frames
        self.report = DecodeReport(frames_declared=len(paths))
        self._problems: dict[str, int] = {}
        self._frames = self._decode_all()
        self._next = next(self._frames, None)
        if self._next is None:
            raise Truncated(
                f"{paths[0]}: no image can be decoded ({', '.join(self._problems)})", hint="fetch it again"
            )
        self.info = self._describe(str(paths[0] if len(paths) == 1 else paths[0].parent), self._next)
        self._iterator = self._run()

    def _list(self, path: Path) -> _Listed:
        content = sniff(path)
        if content.kind != "image":
            raise refusal(path, content)
        if content.format not in self._limits.images:
            raise FormatNotAllowed(
                f"{path} is {content.name}, which is not allowed here",
                hint=f"allowed: {', '.join(self._limits.images)}",
            )
        # Eight bytes a pixel is the most that any of the formats needs without compression.
        if check_regular(path).st_size > 8 * self._limits.max_pixels + _SLACK_BYTES:
            raise TooManyPixels(f"{path} is larger than any image within the limits", hint="scale it down")
        try:
            header = read_header(path, content.format)
        except Truncated:
            return _Listed(path, content.format, None)
        self._limits.check_size(str(path), header.width, header.height)
        return _Listed(path, content.format, header)

    def _check_sizes(self) -> None:
        known = [(image.path, image.header.upright) for image in self._images if image.header is not None]
        for path, size in known[1:]:
            if size != known[0][1]:
                (one, (width, height)), (other_width, other_height) = known[0], size
                raise InputError(
                    f"the images differ in size: {one.name} is {width}x{height}, "
                    f"{path.name} is {other_width}x{other_height}",
                    hint="give images of one size, or one at a time",
                )

    def _decode_all(self) -> Iterator[tuple[int, _Decoded]]:
        for index in self._range:
            image = self._images[index]
            decoded = None if image.header is None else _decode(image, image.header, self._limits)
            problem = "images cut short or damaged beyond decoding" if decoded is None else decoded.problem
            if problem:
                self._problems[problem] = self._problems.get(problem, 0) + 1
            if decoded is not None:
                yield index, decoded

    def _describe(self, uri: str, first: tuple[int, _Decoded]) -> SourceInfo:
        index, decoded = first
        image = self._images[index]
        return SourceInfo(
            uri=uri,
            container="image",
            codec=image.format,
            pixel_format=decoded.pixel_format,
            width=decoded.image.shape[1],
            height=decoded.image.shape[0],
            time_base=1 / self._rate,
            frame_rate=float(self._rate),
            rotation=0 if image.header is None else image.header.orientation.rotation,
            duration=float(len(self._images) / self._rate),
            frames_declared=len(self._images),
        )

    def _run(self) -> Generator[DecodedFrame, None, None]:
        report, current = self.report, self._next
        self._next = None
        try:
            while current is not None:
                limited = self._max_frames is not None and report.frames_decoded >= self._max_frames
                if limited or self._stopped.is_set():
                    break
                index, decoded = current
                report.frames_decoded += 1
                yield DecodedFrame(index, 1, decoded.image)
                current = next(self._frames, None)
            ended = current is None and self._range.stop == len(self._images)
            report.stopped_early = not ended or self._stopped.is_set()
        except GeneratorExit:
            report.stopped_early = True
            raise
        finally:
            report.corrupt_packets = sum(self._problems.values())
            report.problems = [f"{count} {problem}" for problem, count in self._problems.items()]


def _decode(listed: _Listed, header: ImageHeader, limits: MediaLimits) -> _Decoded | None:
    try:
        data = listed.path.read_bytes()
    except OSError as error:
        raise InputError(f"{listed.path} cannot be read: {error.strerror}", hint="check the file") from None
    if listed.format == "jpeg":
        return _decode_jpeg(data, header)
    return _decode_with_ffmpeg(data, listed.format, header, limits)


def _decode_jpeg(data: bytes, header: ImageHeader) -> _Decoded | None:
    problem = ""
    try:
        _, _, colours, sampling = simplejpeg.decode_jpeg_header(data, strict=False)
        try:
            image: Image = simplejpeg.decode_jpeg(data, "BGR")
        except ValueError:
            image = simplejpeg.decode_jpeg(data, "BGR", strict=False)
            problem = "images damaged; what could be decoded is shown"
    except ValueError:
        return None
    image = header.orientation.apply(image)
    image.flags.writeable = False
    names = {"Gray": "gray", "CMYK": "cmyk", "YCCK": "cmyk"}
    return _Decoded(image, names.get(colours, f"yuvj{sampling}p"), problem)


def _decode_with_ffmpeg(
    data: bytes, image_format: str, header: ImageHeader, limits: MediaLimits
) -> _Decoded | None:
    context = av.CodecContext.create(image_format, "r")
    assert isinstance(context, VideoCodecContext)  # noqa: S101 - what these four names are
    context.thread_count = 1
    context.options = {"max_pixels": str(limits.decoder_pixels), "err_detect": "crccheck"}
    try:
        frames = context.decode(av.Packet(data))
        if not frames:
            frames = context.decode(None)
    except av.FFmpegError:
        return None
    if not frames:
        return None
    frame = frames[0]
    limits.check_size("the image", frame.width, frame.height)
    # Exif's orientation is in the header; FFmpeg attaches it to some formats' frames and not to others'.
    image = Converter(header.width, header.height, 1, still=True).stored(frame)
    image = header.orientation.apply(image)
    image.flags.writeable = False
    problem = "images damaged; what could be decoded is shown" if frame.is_corrupt else ""
    return _Decoded(image, frame.format.name, problem)
