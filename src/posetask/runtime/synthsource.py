"""The synthetic world as a source: it needs no file, and gives the same frames whenever it is read."""

from __future__ import annotations

import math
from collections.abc import Generator
from fractions import Fraction

from posetask.errors import InvalidParameters
from posetask.media.frames import DecodedFrame, check_range
from posetask.media.limits import MediaLimits
from posetask.media.reader import FrameReader
from posetask.messages import DecodeReport, SourceInfo
from posetask.synth.uri import parse
from posetask.synth.world import World


class SynthReader(FrameReader):
    """Iterates over the frames of a world.

    Nothing is drawn before the first frame is asked for, and a part of a world costs what the part costs:
    any frame can be drawn without those before it.

    Args:
        uri: ``synth:…``; see :func:`posetask.synth.uri.parse`.
        limits: See :class:`~posetask.media.limits.MediaLimits`.
        start: Seconds to skip.
        duration: Seconds to read from there; None reads to the end.
        max_frames: Frames to read at most; None reads all.

    Attributes:
        info: ``container`` and ``codec`` are ``synth``; the time base is one frame.
        report: What reading came to; final when the iteration has ended.

    Raises:
        InvalidParameters: The world is refused, a parameter is out of its bounds, or ``start`` lies behind
            the end.
        TooManyPixels, TooLong: The world is over the limits.
    """

    def __init__(
        self,
        uri: str,
        *,
        limits: MediaLimits | None = None,
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        super().__init__()
        check_range(start, duration, max_frames)
        self._spec = spec = parse(uri)
        rate = Fraction(spec.frame_rate).limit_denominator(1001)
        seconds = spec.frames / rate
        limits = limits or MediaLimits()
        limits.check_size(uri, spec.width, spec.height)
        limits.check_seconds(uri, seconds)
        first = math.ceil(start * rate - Fraction(1, 100))  # a hundredth of a frame is rounding
        if first >= spec.frames:
            raise InvalidParameters(
                f"start is {start} s, but {uri} lasts {float(seconds):.2f} s", hint="give a smaller start"
            )
        last = spec.frames
        if duration is not None:
            last = min(last, max(first + 1, math.ceil((start + duration) * rate - Fraction(1, 100))))
        if max_frames is not None:
            last = min(last, first + max_frames)
        self._range = range(first, last)
        self.info = SourceInfo(
            uri=uri,
            container="synth",
            codec="synth",
            pixel_format="bgr24",
            width=spec.width,
            height=spec.height,
            time_base=1 / rate,
            frame_rate=float(rate),
            duration=float(seconds),
            frames_declared=spec.frames,
        )
        self.report = DecodeReport(frames_declared=spec.frames)
        self._iterator = self._run()

    def _run(self) -> Generator[DecodedFrame, None, None]:
        report = self.report
        try:
            world = World(self._spec)
            for index in self._range:
                if self._stopped.is_set():
                    break
                image, _ = world.frame(index)
                image.flags.writeable = False
                report.frames_decoded += 1
                yield DecodedFrame(index, 1, image)
            report.stopped_early = report.frames_decoded < self._spec.frames - self._range.start
        except GeneratorExit:
            report.stopped_early = True
            raise
