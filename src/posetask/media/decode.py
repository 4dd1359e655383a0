"""Reading a video: upright BGR frames in presentation order with the source's times, and what was lost."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av

from posetask.errors import InvalidParameters, Truncated
from posetask.media.colour import Converter
from posetask.media.damage import Ledger
from posetask.media.filters import deinterlace
from posetask.media.frames import DecodedFrame, check_range
from posetask.media.limits import MediaLimits
from posetask.media.probe import describe
from posetask.media.pump import Pump
from posetask.media.reader import FrameReader
from posetask.messages import DecodeReport
from posetask.telemetry import available_cores

_MOST_THREADS = 16
_SEEK_BACK = (1, 8, 64)  # seconds before the wanted time; streams without an index land between key frames


__all__ = ["DecodedFrame", "VideoReader"]


class VideoReader(FrameReader):
    """Iterates over the frames of a video file.

    Everything that can be refused is refused by the constructor, which decodes the first frame; damage is
    never raised but reported (see ``docs/inputs.md`` for what counts as damage). Damage that shows before
    the first frame is handed on makes the reader start again with one thread, and the tail of a damaged file
    is read again with one thread, because frame threads cannot hand out all they hold behind an error; so
    the frames of a truncated file do not depend on the machine.

    Args:
        path: The file.
        limits: See :class:`~posetask.media.limits.MediaLimits`.
        threads: FFmpeg's frame and slice threads, at least 1; None takes the cores of the cgroup's quota.
        start: Seconds to skip, on the source's own clock from its first frame.
        duration: Seconds to read from there; None reads to the end.
        max_frames: Frames to read at most; None reads all.

    Attributes:
        info: What the source says of itself.
        report: What decoding came to; final when the iteration has ended.

    Raises:
        InputError: See ``docs/inputs.md``.
        InvalidParameters: ``start`` lies behind the end (also while iterating, where the duration is
            unknown), or a parameter is out of its bounds.
        TooLong, TooManyPixels: While iterating, where the pictures break what the header promised.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: MediaLimits | None = None,
        threads: int | None = None,
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        super().__init__()
        check_range(start, duration, max_frames)
        if threads is not None and threads < 1:
            raise InvalidParameters(f"threads is {threads}, at least 1 is needed")
        self._path = Path(path)
        self._limits = limits or MediaLimits()
        self._threads = min(threads or available_cores(), _MOST_THREADS)
        self._start = start
        self._duration = duration
        self._max_frames = max_frames
        self._pump, self._frames = self._begin()
        self.report = DecodeReport(frames_declared=self.info.frames_declared)
        self._iterator = self._run()

    def close(self) -> None:
        """End the iteration, if it has not ended, and release the file. For the iterating thread."""
        super().close()
        self._pump.close()

    def _begin(self) -> tuple[Pump, Iterator[av.VideoFrame]]:
        """Open, and decode the first frame that is wanted; again with one thread if it meets damage."""
        for threads in dict.fromkeys((self._threads, 1)):
            pump = Pump(self._path, self._limits, threads, self._stopped.is_set)
            try:
                frames = pump.frames()
                first = next(frames, None)
                if first is not None:
                    self._origin = first.pts or 0
                    self.info = describe(self._path, pump, first)
                    frames = chain((first,), frames)
                    if self._start > 0:
                        pump, frames = self._seek(pump)
                    if threads == 1 or not pump.ledger:
                        return pump, frames
                elif threads == 1:
                    raise self._nothing(pump)
                pump.close()
            except BaseException:
                pump.close()
                raise
        raise AssertionError  # pragma: no cover - one thread always ends above

    def _nothing(self, pump: Pump) -> Truncated:
        lost = pump.ledger.corrupt_packets
        what = f"its {lost} packets are damaged" if lost else "it holds no pictures"
        return Truncated(f"{self._path}: no frame can be decoded, {what}", hint="fetch the file again")

    def _seek(self, pump: Pump) -> tuple[Pump, Iterator[av.VideoFrame]]:
        """Go to the first frame at or after ``start``; what is damaged before it does not count."""
        declared = self.info.duration
        if declared is not None and self._start >= declared and self.info.container != "gif":
            raise InvalidParameters(
                f"start is {self._start} s, but {self._path} lasts {declared:.2f} s",
                hint="give a smaller start",
            )
        wanted = self._tick(self._start)
        arrived = self._arrive(pump, wanted)
        if arrived is not None:
            return pump, arrived
        pump.close()
        pump = Pump(self._path, self._limits, pump.threads, self._stopped.is_set)
        frames = self._from(pump, wanted)
        first = next(frames, None)
        if first is None:
            pump.close()
            raise InvalidParameters(
                f"start is {self._start} s, but {self._path} has no frame there", hint="give a smaller start"
            )
        return pump, chain((first,), frames)

    def _arrive(self, pump: Pump, wanted: int) -> Iterator[av.VideoFrame] | None:
        """Seek so that decoding begins at or before ``wanted``; None where that, or what follows, fails."""
        for back in _SEEK_BACK:
            if pump.seek(wanted - round(back / pump.time_base)):
                frames = self._from(pump, wanted)
                first = next(frames, None)
                if first is not None and self._arrived <= wanted:
                    return chain((first,), frames)
        return None

    def _from(self, pump: Pump, wanted: int) -> Iterator[av.VideoFrame]:
        pump.ledger = Ledger(since=wanted)
        self._arrived = math.inf
        for frame in pump.frames():
            pts = frame.pts or 0
            self._arrived = min(self._arrived, pts)
            if pts >= wanted:
                yield frame

    def _tick(self, seconds: float) -> int:
        """Find the first tick at ``seconds`` after the first frame; a hundredth of a tick is rounding."""
        return self._origin + math.ceil(seconds / self.info.time_base - Fraction(1, 100))

    def _run(self) -> Generator[DecodedFrame, None, None]:
        report, info, limits = self.report, self.info, self._limits
        end = None if self._duration is None else self._tick(self._start + self._duration)
        turned = info.rotation in (90, 270)
        width, height = (info.height, info.width) if turned else (info.width, info.height)
        convert = Converter(width, height, self._threads)
        frame_ticks = 1 / Fraction(info.frame_rate) / info.time_base if info.frame_rate else Fraction(0)
        longest = self._origin + math.floor(limits.max_seconds / info.time_base)
        shown = self._origin
        try:
            for frame in deinterlace(self._all(), info.time_base, self._threads):
                pts = frame.pts or 0
                if self._stopped.is_set() or (end is not None and pts >= end):
                    report.stopped_early = True
                    break
                if self._max_frames is not None and report.frames_decoded >= self._max_frames:
                    report.stopped_early = True
                    break
                if pts > longest:
                    limits.check_seconds(info.uri, (pts - self._origin) * info.time_base)
                if (frame.width, frame.height) != (width, height):
                    self._pump.ledger.note(
                        f"pictures change from {width}x{height} to {frame.width}x{frame.height}; "
                        f"they are scaled to the first size"
                    )
                image = convert(frame)
                shown = pts + (frame.duration or round(frame_ticks))
                report.frames_decoded += 1
                yield DecodedFrame(pts, frame.duration, image)
            report.stopped_early = report.stopped_early or self._stopped.is_set()
        except GeneratorExit:
            report.stopped_early = True
            raise
        finally:
            self._tell(shown)
            self._pump.close()

    def _all(self) -> Iterator[av.VideoFrame]:
        """Yield all frames from the first on, and those that frame threads kept to themselves at the end."""
        last = None
        for frame in self._frames:
            last = frame
            yield frame
        pump = self._pump
        if last is None or pump.threads == 1 or self._stopped.is_set() or pump.clock.resets:
            return
        at = last.pts or 0
        if pump.unaccounted > 0 and (pump.ledger or self._missing(at + last.duration)):
            yield from self._tail(at)

    def _tail(self, last: int) -> Iterator[av.VideoFrame]:
        """Read what comes after ``last`` again, with one thread."""
        pump = Pump(self._path, self._limits, 1, self._stopped.is_set)
        try:
            yield from self._arrive(pump, last + 1) or ()
            self._pump.ledger.refused |= pump.ledger.refused
            self._pump.ledger.concealed |= pump.ledger.concealed
        finally:
            pump.close()

    def _missing(self, shown: int) -> Fraction:
        """Seconds that the container promised and that were not shown up to the tick ``shown``."""
        pump, rate = self._pump, self.info.frame_rate
        base = self.info.time_base
        frame = max(pump.longest_frame, 1 / Fraction(rate) if rate else Fraction(0))
        return pump.claim.missing(self._origin * base, shown * base, pump.others_end, frame)

    def _tell(self, shown: int) -> None:
        pump, report = self._pump, self.report
        if pump.clock.resets:
            pump.ledger.note("the source's clock jumps back; what follows is moved on to continue")
        if pump.clock.strays:
            pump.ledger.note("some frames bear times that cannot be right; they follow the frame before")
        missing = Fraction(0) if report.stopped_early else self._missing(shown)
        pump.ledger.tell(report, missing, pump.claim.seconds)
