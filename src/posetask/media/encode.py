"""H.264 in fragmented MP4: one encoder with its muxer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import cast

import av
from av.codec.context import ThreadType

from posetask.errors import NotAvailable, OutputError, StageFailed
from posetask.media.encodersettings import EncoderSettings
from posetask.media.yuv import ColourTags, YuvConverter, even_size
from posetask.messages import Image, SourceInfo

MOVFLAGS = "empty_moov+default_base_moof+frag_keyframe+frag_discont+negative_cts_offsets+skip_trailer"
"""Of the muxer: one initialisation, then self-contained fragments with absolute times, and nothing after."""


_FINEST = 10_000_000
_FALLBACK = Fraction(1, 1_000_000)


def stream_time_base(source: Fraction) -> Fraction:
    """Choose the stream's time base: the source's own, so that no time is rounded.

    Only below 100 ns a tick it is a microsecond instead: an MP4 holds a sample's duration in 31 bits, and
    in nanoseconds no picture could stand for longer than two seconds.

    >>> stream_time_base(Fraction(1001, 30000)), stream_time_base(Fraction(1, 10**9))
    (Fraction(1001, 30000), Fraction(1, 1000000))
    """
    return source if source.denominator <= _FINEST else _FALLBACK


def encoder_name() -> str:
    """Name the encoder and its versions, for the manifest."""
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"libx264 (PyAV {av.__version__}, libavcodec {codec})"


class FragmentEncoder:
    """One libx264 and one fragmented-MP4 muxer; a fragment is complete when the next one's IDR arrives.

    Args:
        info: Size, frame rate and pixel aspect of the pictures.
        time_base: Seconds a tick of their times.
        settings: Of the encoder.
        first_fragment: Number of the first fragment, from 1; a resumed stream goes on counting.

    Attributes:
        init: The initialisation segment (``ftyp`` and ``moov``); equal for equal settings and size.

    Raises:
        NotAvailable: This build of FFmpeg has no libx264.
        OutputError: The encoder refuses the size or the settings.
    """

    def __init__(
        self, info: SourceInfo, time_base: Fraction, settings: EncoderSettings, *, first_fragment: int = 1
    ) -> None:
        self._time_base = time_base
        self._convert = YuvConverter(info.width, info.height)
        self._sink = _Sink()
        width, height = even_size(info.width, info.height)
        try:
            self._container = _open(self._sink, first_fragment)
            self._stream = _add_stream(self._container, info, time_base, settings)
            self._container.start_encoding()
        except av.codec.codec.UnknownCodecError as error:
            raise NotAvailable(
                "this build of FFmpeg cannot encode H.264 (no libx264)",
                hint="install PyAV's own wheels: pip install --force-reinstall av",
            ) from error
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(
                f"the H.264 encoder refuses {width}x{height}, preset {settings.preset}, "
                f"crf {settings.crf} ({error})",
                hint="choose other encoder settings, or a smaller picture",
            ) from error
        self.init = self._sink.take()
        self._durations: dict[int, int] = {}  # of the frames whose successor is known
        self._starts: deque[int] = deque()  # pts of the IDRs that are to come out
        self._waiting: deque[av.Packet[av.VideoStream]] = deque()
        self._last_pts: int | None = None
        self._begun = False

    def encode(self, image: Image, pts: int, *, start: bool) -> list[bytes]:
        """Take one picture.

        Args:
            image: ``(h, w, 3)`` uint8 BGR, of the size given; the caller may reuse it afterwards.
            pts: Ticks, greater than the one before.
            start: Begin a new fragment here, with an IDR. True for the first picture.

        Returns:
            The fragments that are complete now, in order; usually none.
        """
        frame = self._convert(image)
        frame.pts = pts
        frame.time_base = self._time_base
        frame.pict_type = av.video.frame.PictureType.I if start else av.video.frame.PictureType.NONE
        if start:
            self._starts.append(pts)
        if self._last_pts is not None:
            self._durations[self._last_pts] = pts - self._last_pts
        self._last_pts = pts
        with self._words(pts):
            self._waiting += self._stream.encode(frame)
            return self._mux()

    def finish(self, duration: int) -> list[bytes]:
        """Drain the encoder; the last picture is shown for ``duration`` ticks. Returns the rest, in order."""
        if self._last_pts is None:
            self.abandon()
            return []
        self._durations[self._last_pts] = duration
        with self._words(self._last_pts):
            self._waiting += self._stream.encode(None)
            fragments = self._mux()
            self._container.close()
        rest = self._sink.take()
        if self._waiting or self._starts or not rest:
            raise StageFailed("the H.264 encoder did not return every frame that it was given")
        return [*fragments, rest]

    def abandon(self) -> None:
        """Let go of the encoder; what is not complete is lost."""
        self._waiting.clear()
        self._container.close()

    @contextmanager
    def _words(self, pts: int) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            seconds = float(pts * self._time_base)
            raise OutputError(
                f"the video cannot be written at {seconds:.3f} s ({error.strerror})",
                hint="an MP4 cannot hold pictures that are hours apart",
            ) from error

    def _mux(self) -> list[bytes]:
        fragments = []
        while self._waiting and (pts := cast(int, self._waiting[0].pts)) in self._durations:
            packet = self._waiting.popleft()
            if packet.is_keyframe != (bool(self._starts) and self._starts[0] == pts):
                raise StageFailed(
                    f"the H.264 encoder set an IDR where none was asked for, or none, at pts {pts}"
                )
            packet.duration = self._durations.pop(pts)
            self._container.mux_one(packet)
            if packet.is_keyframe:
                self._starts.popleft()
                if self._begun:
                    fragments.append(self._sink.take())
                self._begun = True
        return fragments


class _Sink:
    """What the muxer writes to: no seeking, and the bytes of a fragment are taken out as one."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _open(sink: _Sink, first_fragment: int) -> av.container.OutputContainer:
    return av.open(
        sink,
        "w",
        format="mp4",
        container_options={
            "movflags": MOVFLAGS,
            "fflags": "+bitexact",  # no library version in the files: the same settings, the same bytes
            "flush_packets": "1",  # a complete fragment leaves the muxer's buffer at once
            "fragment_index": str(first_fragment),
        },
    )


def _add_stream(
    container: av.container.OutputContainer, info: SourceInfo, time_base: Fraction, settings: EncoderSettings
) -> av.VideoStream:
    width, height = even_size(info.width, info.height)
    rate = Fraction(info.frame_rate).limit_denominator(1001 * 1000) if info.frame_rate > 0 else Fraction(25)
    stream = container.add_stream(
        "libx264",
        rate=rate,
        time_base=time_base,
        width=width,
        height=height,
        options={
            "preset": settings.preset,
            "crf": f"{settings.effective_crf(float(rate)):.2f}",
            "forced-idr": "1",
            "x264-params": settings.x264_params(),
        },
    )
    context = stream.codec_context
    context.pix_fmt = "yuv420p"
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.thread_count = settings.threads
    context.thread_type = ThreadType.FRAME  # PyAV's default, slices, costs wall time and bytes
    tags = ColourTags.for_height(info.height)
    context.colorspace = tags.matrix
    context.color_primaries = tags.primaries
    context.color_trc = tags.transfer
    context.color_range = tags.range
    return stream
