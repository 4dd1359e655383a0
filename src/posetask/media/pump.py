"""Packets in, frames out: one reading of a container, in which damage is written down and never raised."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from posetask.errors import TooManyPixels, UnsupportedCodec
from posetask.media.clock import Clock
from posetask.media.container import open_video
from posetask.media.damage import Ledger
from posetask.media.duration import claim
from posetask.media.limits import MediaLimits

_MOST_DEMUX_ERRORS = 16
_FRAME_THREADS = 1 << 12  # AV_CODEC_CAP_FRAME_THREADS

Packet: TypeAlias = "av.Packet[Any]"


class Pump:
    """Reads one video stream and decodes it with a fixed number of threads.

    Args:
        path: The file.
        limits: Checked on opening, and again on every change of what the decoder finds.
        threads: FFmpeg's frame and slice threads.
        stopped: Asked before every packet; True ends the reading.

    Attributes:
        container: As opened by :func:`~posetask.media.container.open_video`.
        stream: The chosen video stream.
        time_base: Seconds per tick of all times here.
        claim: How long the container says that it lasts.
        ledger: Damage, from here on; may be exchanged between frames.
        others_end: Where the other streams end, in seconds, where the claim is for the whole file; else 0.
    """

    def __init__(
        self, path: Path, limits: MediaLimits, threads: int, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self.container: InputContainer
        self.stream: VideoStream
        self.container, self.stream = open_video(path, limits)
        self._uri = str(path)
        self._limits = limits
        self._stopped = stopped
        self.threads = threads
        self.time_base = self.stream.time_base or Fraction(1, 1_000_000)
        self.ledger = Ledger()
        context = self.stream.codec_context
        self._claimed = (context.width, context.height)
        context.thread_count = threads
        context.thread_type = "AUTO" if threads > 1 else "NONE"
        context.options = {"max_pixels": str(limits.decoder_pixels)}
        frame_threads = threads if context.codec.capabilities & _FRAME_THREADS else 1
        # With frame threads a packet's error comes back when as many later packets have been sent.
        self._sent: deque[tuple[int, int | None]] = deque(maxlen=frame_threads)
        self._durations: deque[int] = deque(maxlen=16)
        self.claim = claim(path, self.container, self.stream)
        self.others_end = Fraction(0)
        self._others: dict[int, Fraction] = {}
        for other in self.container.streams:
            if other.index != self.stream.index and not self.claim.whole_file:
                other.discard = Discard.all
        self._clock = self._new_clock()
        self._size: tuple[int, int] | None = None
        self._packets = 0
        self._outstanding = 0

    def _new_clock(self) -> Clock:
        end = None
        if self.claim.seconds is not None:
            start = Fraction(0) if self.claim.from_zero else (self.stream.start_time or 0) * self.time_base
            end = round((start + self.claim.seconds + 1) / self.time_base)
        return Clock(self.time_base, stored=self.container.format.name != "avi", end=end)

    @property
    def longest_frame(self) -> Fraction:
        """The longest of the last frames' durations, in seconds; 0 where they are unknown."""
        return max(self._durations, default=0) * self.time_base

    @property
    def clock(self) -> Clock:
        """What gives the frames their times; a new one after every :meth:`seek`."""
        return self._clock

    @property
    def unaccounted(self) -> int:
        """Packets of which neither a frame nor an error came out."""
        return self._outstanding

    def close(self) -> None:
        """Close the container; safe to call twice."""
        self.container.close()

    def seek(self, pts: int) -> bool:
        """Go to a key frame at or before ``pts`` ticks; False where the container cannot."""
        try:
            self.container.seek(pts, stream=self.stream, backward=True)
        except av.FFmpegError:
            return False
        self._clock = self._new_clock()
        self._sent.clear()
        self._outstanding = 0
        return True

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield frames in presentation order; ``pts`` is set by the :class:`~posetask.media.clock.Clock`.

        Raises:
            TooManyPixels: The decoder meets pictures over the limit.
            UnsupportedCodec: The pictures are encrypted.
        """
        for packet in self._demux():
            if self._stopped():
                return
            yield from self._prepare(self._decode(packet))
        yield from self._prepare(self._flush())

    def _demux(self) -> Iterator[Packet]:
        errors = 0
        followed = () if self.claim.whole_file else (self.stream,)
        while errors < _MOST_DEMUX_ERRORS:
            try:
                for packet in self.container.demux(*followed):
                    errors = 0
                    if packet.size and packet.stream_index == self.stream.index:
                        yield packet
                    else:
                        self._pass_by(packet)
                return
            except av.FFmpegError as error:
                # Reading goes on where it stopped; damage can leave the demuxer unable to move on.
                if errors == 0:
                    self.ledger.demux_error(error)
                errors += 1
            except IndexError:  # PyAV, at the end, where a damaged file announced streams after opening
                return

    def _pass_by(self, packet: av.Packet[Any]) -> None:
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None or packet.stream.time_base is None:
            return
        # Flash does not say how long a packet of sound lasts: as long as the one before it.
        time = ticks * packet.stream.time_base
        lasts = (packet.duration or 0) * packet.stream.time_base
        before = self._others.get(packet.stream_index, time)
        self._others[packet.stream_index] = time
        self.others_end = max(self.others_end, time + max(lasts, time - before))

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        key = packet.pts if packet.pts is not None else packet.dts
        if key is None:
            key = self._packets
        if self._packets == 0 and packet.has_sidedata("encryption_info"):
            raise UnsupportedCodec(f"{self._uri}: its video is encrypted", hint="decrypt it first")
        self._packets += 1
        if packet.is_corrupt:
            self.ledger.mark(key, key)
        if packet.duration:
            self._durations.append(packet.duration)
        self._sent.append((key, packet.dts))
        self._outstanding += 1
        self._clock.packet(packet.dts)
        try:
            return packet.decode()
        except av.FFmpegError as error:
            self._refused(error)
            return []

    def _flush(self) -> list[av.VideoFrame]:
        if len(self._sent) == self._sent.maxlen and len(self._sent) > 1:
            self._sent.popleft()  # its result has been handed out; those of the others come now
        try:
            return self.stream.codec_context.decode(None)
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            self._refused(error)
            return []

    def _refused(self, error: av.FFmpegError) -> None:
        context = self.stream.codec_context
        self._limits.check_size(self._uri, context.width, context.height)
        # libavcodec forgets the size where it exceeds max_pixels.
        if isinstance(error, av.ArgumentError) and not context.width and all(self._claimed):
            raise TooManyPixels(
                f"{self._uri} has pictures of more than {self._limits.max_pixels} pixels, whatever it says",
                hint="scale it down first",
            )
        self._outstanding -= 1
        key, dts = self._sent[0] if self._sent else (0, None)
        self.ledger.refuse(key, key)
        self._clock.lost(dts)

    def _prepare(self, frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        for frame in frames:
            size = (frame.width, frame.height)
            if size != self._size:
                self._limits.check_size(self._uri, *size)
                self._size = size
            if frame.is_corrupt:
                key = frame.pts if frame.pts is not None else self._packets
                self.ledger.conceal(key, frame.pts)
            frame.pts = self._clock.frame(frame)
            frame.time_base = self.time_base
            self._outstanding -= 1
            yield frame
