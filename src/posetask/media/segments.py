"""The annotated video while it is being made: H.264 segments that are a playable HLS stream."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from posetask.errors import OutputError, OutputExists, StageFailed
from posetask.media.encode import FragmentEncoder, encoder_name, stream_time_base
from posetask.media.encodersettings import EncoderSettings
from posetask.media.manifest import INIT, MANIFEST, PLAYLIST, Manifest, Segment, digest
from posetask.media.playlist import render
from posetask.media.yuv import even_size
from posetask.messages import Image, SourceInfo
from posetask.storage.durable import storage_errors, write_durably

_FREE_CLOCKS = frozenset({"mpegts", "mpeg", "rtsp", "rtp"})
"""Demuxers whose clock starts anywhere, often hours in; there time 0 means nothing."""


@dataclass(slots=True)
class _Planned:
    """A segment that is not complete yet."""

    first_index: int
    first_pts: int
    last_pts: int = 0
    frames: int = 0


class SegmentWriter:
    """Writes frames as fMP4 segments, each durable once it is there; see ``docs/output.md`` for the files.

    The stream keeps the source's times: a frame's pts is the source's less ``manifest.origin``, which
    is 0 unless the first pts is negative, the source's clock starts anywhere (MPEG-TS, RTSP), or
    ``rebase`` asks for the first frame at time 0. Not for use by several threads at once.

    Args:
        folder: Made if it is not there; must hold no manifest.
        info: Of the source: size, time base, frame rate, pixel aspect.
        settings: Of the encoder; defaults are :class:`~posetask.media.encode.EncoderSettings`'s.
        on_segment: Called with each segment after it is durable and listed.
        rebase: Show the first frame at time 0, whatever its pts. For a part of a source.

    Raises:
        OutputExists: The folder holds a stream already.
        StorageFull: No space left.
        OutputError: The folder cannot be written, or the encoder refuses the settings.
        NotAvailable: No H.264 encoder on this machine.
    """

    def __init__(
        self,
        folder: Path,
        info: SourceInfo,
        settings: EncoderSettings | None = None,
        *,
        on_segment: Callable[[Segment], None] | None = None,
        rebase: bool = False,
    ) -> None:
        if (folder / MANIFEST).exists():
            raise OutputExists(f"{folder} holds a stream already", hint="resume it, or remove the folder")
        settings = settings or EncoderSettings()
        width, height = even_size(info.width, info.height)
        manifest = Manifest(
            source=info,
            settings=settings,
            encoder=encoder_name(),
            width=width,
            height=height,
            time_base=stream_time_base(info.time_base),
            rebase=rebase,
        )
        encoder = _encoder(manifest)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / INIT, encoder.init)
        manifest.save(folder)
        self._set_up(folder, manifest, encoder, on_segment)

    @classmethod
    def resume(cls, folder: Path, *, on_segment: Callable[[Segment], None] | None = None) -> SegmentWriter:
        """Go on after the last complete segment: the next frame to write is number :attr:`next_index`.

        The manifest's settings are used, and the new encoder's initialisation must equal the one on disk.

        Raises:
            OutputExists: The stream is finished.
            OutputError: No stream is there, or this machine's encoder is another one.
            StorageFull: No space left.
        """
        manifest = Manifest.load(folder).intact(folder)
        if manifest.finished:
            raise OutputExists(f"{folder} is finished, with {manifest.frames} frames", hint="remux it")
        manifest = manifest.model_copy(update={"encoder": encoder_name()})
        encoder = _encoder(manifest)
        with storage_errors(folder / INIT):
            init = (folder / INIT).read_bytes()
        if encoder.init != init:
            encoder.abandon()
            raise OutputError(
                f"{folder} was begun by another encoder ({manifest.encoder} here): segments would not fit",
                hint="resume with the version that began it, or remove the folder and run again",
            )
        writer = cls.__new__(cls)
        writer._set_up(folder, manifest, encoder, on_segment)
        writer._list()
        return writer

    def _set_up(
        self,
        folder: Path,
        manifest: Manifest,
        encoder: FragmentEncoder,
        on_segment: Callable[[Segment], None] | None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._on_segment = on_segment
        self._encoder: FragmentEncoder | None = encoder
        self._planned: deque[_Planned] = deque()
        self._index = manifest.frames
        self._last_pts: int | None = None
        self._last_source: int | None = None
        self._last_duration = 0
        self._delta = 0
        self._closed = False

    @property
    def next_index(self) -> int:
        """Frames written so far, those of complete segments of an earlier session included."""
        return self._index

    def write(self, image: Image, pts: int, duration: int) -> None:
        """Encode one frame; files appear as segments become complete.

        Args:
            image: ``(h, w, 3)`` uint8 BGR of the source's size; the caller may reuse it afterwards.
            pts: Ticks of the source's time base, greater than the one before.
            duration: Ticks that it is shown if it is the last; 0 if unknown.

        Raises:
            StageFailed: The image or its time breaks the contract.
            StorageFull: No space left.
            OutputError: The folder cannot be written.
        """
        if self._closed:
            raise StageFailed("the segment writer is closed")
        info = self.manifest.source
        if image.shape != (info.height, info.width, 3) or image.dtype != "uint8":
            raise StageFailed(
                f"frame {self._index}: expected uint8 {(info.height, info.width, 3)}, "
                f"got {image.dtype} {image.shape}"
            )
        if self._index == 0:
            self._set_origin(pts)
        pts, duration = self._time(pts), self._ticks(duration)
        start = self._starts_segment(pts)
        if start:
            self._planned.append(_Planned(self._index, pts))
        self._planned[-1].frames += 1
        self._planned[-1].last_pts = pts
        if self._last_pts is not None:
            self._delta = pts - self._last_pts
        self._last_pts, self._last_duration = pts, duration
        self._index += 1
        with self._ended_by_errors():
            self._store(self._live_encoder().encode(image, pts, start=start))

    def cut(self) -> None:
        """Complete the current segment now, early, so that every frame written so far is durable.

        For a caller that must let go of its frames, and before a long pause. It costs a new encoder.
        """
        self._drain()

    def close(self) -> Manifest:
        """Complete the last segment and end the playlist. Closing twice is harmless.

        Raises:
            StorageFull: No space left.
            OutputError: The folder cannot be written.
        """
        if not self._closed:
            self._drain()
            self._closed = True
            self.manifest = self.manifest.model_copy(update={"finished": True})
            self._list()
        return self.manifest

    def abort(self) -> None:
        """Stop at once. Complete segments stay (a later session can resume); never raises."""
        self._closed = True
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with contextlib.suppress(Exception):
                encoder.abandon()

    def _set_origin(self, pts: int) -> None:
        manifest = self.manifest
        free = not _FREE_CLOCKS.isdisjoint(manifest.source.container.split(","))
        origin = pts if pts < 0 or manifest.rebase or free else 0
        self.manifest = manifest.model_copy(update={"origin": origin})

    def _ticks(self, source_ticks: int) -> int:
        manifest = self.manifest
        if manifest.time_base == manifest.source.time_base:
            return source_ticks
        return round(source_ticks * manifest.source.time_base / manifest.time_base)

    def _time(self, source_pts: int) -> int:
        """The stream's time of a frame, checked to be after the one before."""
        pts = self._ticks(source_pts - self.manifest.origin)
        last, last_source = self._last_pts, self._last_source
        if last is None and self.manifest.segments:  # resumed
            last = self.manifest.segments[-1].last_pts
        increases = last is None or (pts > last if last_source is None else source_pts > last_source)
        if not increases:
            raise StageFailed(f"frame {self._index}: its pts {source_pts} is not after the one before")
        self._last_source = source_pts
        return pts if last is None else max(pts, last + 1)  # ticks that were rounded may fall together

    def _starts_segment(self, pts: int) -> bool:
        if not self._planned or self._encoder is None:
            return True
        current = self._planned[-1]
        assert self._last_pts is not None  # noqa: S101 - a planned segment has a frame
        # Cut where the length comes nearest to the target, so that 2.002 s is not made 1.968 s.
        half = (pts - self._last_pts) / 2
        length = float((pts - current.first_pts + half) * self.manifest.time_base)
        settings = self.manifest.settings
        return length >= settings.segment_seconds or current.frames >= settings.max_segment_frames

    def _live_encoder(self) -> FragmentEncoder:
        if self._encoder is None:
            self._encoder = _encoder(self.manifest)
        return self._encoder

    @contextlib.contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.abort()  # a frame is lost: what follows would have the wrong number
            raise

    def _drain(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with self._ended_by_errors():
                self._store(encoder.finish(self._final_duration()))

    def _final_duration(self) -> int:
        """Ticks of a frame with no successor: its own word, else the delta before it, else the frame rate."""
        rate = self.manifest.source.frame_rate or 25.0
        return (
            self._last_duration or self._delta or max(1, round(1 / (rate * float(self.manifest.time_base))))
        )

    def _store(self, fragments: list[bytes]) -> None:
        for data in fragments:
            planned = self._planned.popleft()
            following = self._planned[0].first_pts if self._planned else None
            segment = Segment(
                name=f"segment_{len(self.manifest.segments):05d}.m4s",
                first_index=planned.first_index,
                frames=planned.frames,
                first_pts=planned.first_pts,
                last_pts=planned.last_pts,
                end_pts=planned.last_pts + self._final_duration() if following is None else following,
                bytes=len(data),
                sha256=digest(data),
            )
            write_durably(self.folder / segment.name, data, sync_name=False)  # the manifest's does it
            self.manifest = self.manifest.model_copy(update={"segments": (*self.manifest.segments, segment)})
            self._list()
            if self._on_segment is not None:
                self._on_segment(segment)

    def _list(self) -> None:
        self.manifest.save(self.folder)
        write_durably(self.folder / PLAYLIST, render(self.manifest).encode(), sync_name=False)


def _encoder(manifest: Manifest) -> FragmentEncoder:
    return FragmentEncoder(
        manifest.source, manifest.time_base, manifest.settings, first_fragment=len(manifest.segments) + 1
    )
