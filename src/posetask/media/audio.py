"""The source's sound beside the annotated pictures: copied where it is AAC, else transcoded to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt

from posetask.errors import PoseTaskError
from posetask.media.limits import MediaLimits
from posetask.media.sniff import sniff

Packets = Iterator[tuple[Fraction, "av.Packet[av.AudioStream]"]]
"""Output time in seconds, and the packet; in order."""

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_BIT_RATES = {1: 96_000, 2: 160_000}
_JUMP = Fraction(1, 50)
"""Seconds; a step of the source's clock below this is rounding or jitter, not a gap."""


class AudioFailed(Exception):
    """The sound cannot be used (any more); says why in words."""


class NoAudio(AudioFailed):
    """The source has pictures only."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the source's sound belongs to the pictures, in seconds of the source's clock.

    Attributes:
        zero: Where the output's time 0 lies.
        first: Nothing that ends before this is heard.
        end: Nothing that starts at or after this is kept.
    """

    zero: Fraction
    first: Fraction
    end: Fraction


class SourceAudio:
    """The source's best sound, opened; only the limits' demuxers and protocols are used.

    Args:
        path: The source.
        limits: Those that its pictures were read under.

    Raises:
        NoAudio: There is none.
        AudioFailed: It cannot be opened or decoded.
    """

    def __init__(self, path: Path, limits: MediaLimits) -> None:
        try:
            content = sniff(path)
            if content.format not in limits.demuxers:
                raise AudioFailed(f"{content.name} is not opened for its sound")
            self._container = av.open(
                f"file:{os.path.abspath(path)}",  # a name with a colon is no protocol then
                format=content.format,
                container_options={
                    "format_whitelist": content.format,
                    "protocol_whitelist": ",".join(limits.protocols),
                    "max_streams": str(limits.max_streams + 1),
                    "enable_drefs": "0",
                    "use_absolute_path": "0",
                },
                metadata_errors="replace",
            )
        except (av.FFmpegError, OSError, ValueError, PoseTaskError) as error:
            raise AudioFailed(f"the source cannot be opened for its sound ({error})") from error
        stream = self._container.streams.best("audio")
        if stream is None:
            reason = AudioFailed("no decoder for it") if self._container.streams.audio else NoAudio()
            self._container.close()
            raise reason
        assert isinstance(stream, av.AudioStream)  # noqa: S101 - what best("audio") gives
        self.stream = stream
        self.codec = stream.codec_context.codec.canonical_name
        self.rate = stream.codec_context.sample_rate
        self.broken = False
        for other in self._container.streams:
            if other.index != stream.index:
                with suppress(AttributeError):
                    other.discard = av.stream.Discard.all  # lets MP4 skip the pictures unread

    def packets(self) -> Packets:
        """Source time in seconds, and the packet; damage ends it early and sets ``broken``."""
        try:
            for packet in self._container.demux(self.stream):
                if packet.is_corrupt:
                    self.broken = True
                elif packet.pts is not None:
                    yield packet.pts * packet.time_base, packet
        except av.FFmpegError:
            self.broken = True

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()


class AudioTrack(Protocol):
    """Sound on its way into a container that has not been started yet."""

    note: str
    """What is done, in words."""

    def packets(self) -> Packets:
        """All of it. Raises :class:`AudioFailed`."""
        ...


class CopiedAac:
    """AAC packets as they are, moved to the output's clock.

    A decoder needs the packet before the first one heard, so one more is kept at the front; the
    MP4's edit list hides it, as it hides the encoder's own delay.

    Raises:
        AudioFailed: It is not AAC that an MP4 can hold.
    """

    def __init__(self, source: SourceAudio, output: av.container.OutputContainer, window: Window) -> None:
        if source.codec != "aac" or not source.rate:
            raise AudioFailed(f"{source.codec} cannot be copied")
        self.note = "copied aac"
        self._source, self._window = source, window
        try:
            self._output = output.add_stream_from_template(source.stream)
        except (av.FFmpegError, ValueError) as error:
            raise AudioFailed(f"aac cannot be copied ({error})") from error
        self._output.time_base = Fraction(1, source.rate)

    def packets(self) -> Packets:
        """See :class:`AudioTrack`."""
        rate, window = self._source.rate, self._window
        size = self._source.stream.codec_context.frame_size or 1024
        held: list[av.Packet[av.AudioStream]] = []
        position, previous = 0, None
        for start, packet in self._source.packets():
            if start >= window.end:
                break
            if start + Fraction(size, rate) <= window.first:
                held = [packet]
                continue
            for each in (*held, packet):
                assert each.pts is not None  # noqa: S101 - SourceAudio.packets drops the others
                position = round((each.pts * each.time_base - window.zero) * rate)
                if previous is not None:
                    # Matroska and FLV round to milliseconds; packets are of equal length, so count them.
                    if abs(position - previous - size) <= 2 * each.time_base * rate:
                        position = previous + size
                    if position <= previous:
                        continue  # the clock ran backwards
                previous = position
                each.stream = self._output
                each.time_base = Fraction(1, rate)
                each.pts = each.dts = position
                each.duration = size
                yield Fraction(position, rate), each
            held = []
        if previous is None:
            raise AudioFailed("there is none in this part of the source")
        if self._source.broken:
            self.note += ", damaged in places"


class TranscodedAac:
    """Any sound that FFmpeg decodes, as AAC: mono or stereo, at the source's rate where AAC has it.

    Samples are put where their times say: what is missing becomes silence, what overlaps is cut.
    """

    def __init__(self, source: SourceAudio, output: av.container.OutputContainer, window: Window) -> None:
        self._source, self._window = source, window
        self._rate = source.rate if source.rate in _AAC_RATES else 48_000
        self._channels = min(source.stream.codec_context.channels or 2, 2)
        self._layout = "mono" if self._channels == 1 else "stereo"
        self.note = f"transcoded {source.codec} to aac"
        self._stream = output.add_stream("aac", rate=self._rate)
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.bit_rate = _BIT_RATES[self._channels]
        self._stream.codec_context.time_base = Fraction(1, self._rate)

    def packets(self) -> Packets:
        """See :class:`AudioTrack`."""
        heard = False
        for position, block in self._timeline():
            heard = True
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
            frame.sample_rate = self._rate
            frame.time_base = Fraction(1, self._rate)
            frame.pts = position
            yield from self._encode(frame)
        if not heard:
            raise AudioFailed(f"no {self._source.codec} could be decoded in this part of the source")
        yield from self._encode(None)
        if self._source.broken:
            self.note += ", damaged in places"

    def _encode(self, frame: av.AudioFrame | None) -> Packets:
        for packet in self._stream.encode(frame):
            assert packet.pts is not None  # noqa: S101 - the encoder counts samples
            yield packet.pts * packet.time_base, packet

    def _timeline(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Position in samples from the output's zero, and ``(channels, n)`` samples; without gaps."""
        window, rate = self._window, self._rate
        first = round((window.first - window.zero) * rate)
        end = round((window.end - window.zero) * rate)
        following: int | None = None
        for time, samples in self._decoded():
            position = round((time - window.zero) * rate)
            if following is not None and abs(position - following) <= _JUMP * rate:
                position = following
            skip = max((first if following is None else following) - position, 0)
            samples, position = samples[:, skip : max(end - position, 0)], position + skip
            if samples.shape[1] == 0:
                if position >= end:
                    break
                continue
            while following is not None and following < position:
                silence = min(position - following, rate)
                yield following, np.zeros((self._channels, silence), np.float32)
                following += silence
            yield position, np.ascontiguousarray(samples)
            following = position + samples.shape[1]

    def _decoded(self) -> Iterator[tuple[Fraction, npt.NDArray[np.float32]]]:
        """Source time in seconds, and samples at the output's rate."""
        resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
        for _, packet in self._source.packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._source.broken = True
                continue
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                time = frame.pts * frame.time_base
                for converted in resampler.resample(frame):
                    yield time, converted.to_ndarray().astype(np.float32, copy=False)
                    time += Fraction(converted.samples, self._rate)
