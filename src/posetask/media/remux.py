"""From the segments to one faststart MP4, packet by packet, with the source's sound."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from posetask.errors import InvalidParameters, OutputError
from posetask.media.audio import (
    AudioFailed,
    AudioTrack,
    CopiedAac,
    NoAudio,
    SourceAudio,
    TranscodedAac,
    Window,
)
from posetask.media.chain import SegmentChain
from posetask.media.limits import MediaLimits
from posetask.media.manifest import INIT, Manifest
from posetask.storage.durable import publish, refuse_existing, storage_errors, temporary_beside


@dataclass(frozen=True, slots=True)
class RemuxReport:
    """What the MP4 holds.

    Attributes:
        frames: Pictures; counted in the finished file.
        duration: Seconds from the first picture to the end of the last.
        audio: What was done with the sound, in words, or why there is none.
    """

    frames: int
    duration: float
    audio: str


def remux(
    folder: Path,
    output: Path,
    *,
    audio_from: Path | None = None,
    audio_start: float = 0.0,
    audio_end: float | None = None,
    audio_shift: float = 0.0,
    overwrite: bool = False,
    limits: MediaLimits | None = None,
) -> RemuxReport:
    """Write the segments of ``folder`` as one MP4 that a browser can play while it loads.

    Nothing is encoded again: packets and their times are copied. The file appears at ``output`` at
    once and complete, or not at all. Sound is placed by the source's clock, so that what was
    together stays together; it ends with the pictures. Trouble with it never fails the call: the
    report says what happened.

    Args:
        folder: What a :class:`~posetask.media.segments.SegmentWriter` wrote; only complete segments count.
        output: The MP4.
        audio_from: The source, for its sound. None leaves it out.
        audio_start: Seconds of the source's clock before which sound is left out, even where the
            output begins earlier.
        audio_end: The same for the end; by default the sound ends with the pictures.
        audio_shift: Seconds by which the sound is moved against the pictures; more is later.
        overwrite: Replace what is at ``output``.
        limits: Which containers and protocols may be used to open ``audio_from``.

    Raises:
        OutputExists: ``output`` is there, and ``overwrite`` is False.
        StorageFull: No space left for it.
        OutputError: The folder holds no stream, or ``output``'s folder cannot be written.
        InvalidParameters: There is no complete segment.
    """
    output = Path(os.path.abspath(output))
    refuse_existing(output, overwrite=overwrite)
    manifest = Manifest.load(folder)
    if not manifest.segments:
        raise InvalidParameters(f"{folder} holds no complete segment", hint="write some frames first")
    if len(manifest.intact(folder).segments) != len(manifest.segments):
        raise OutputError(
            f"{folder} lacks segments that its manifest lists", hint="resume the stream, or run again"
        )
    zero = manifest.origin * manifest.source.time_base - Fraction(audio_shift)
    window = Window(
        zero=zero,
        first=max(zero, Fraction(audio_start)),
        end=min(zero + manifest.end, Fraction(audio_end) if audio_end is not None else zero + manifest.end),
    )
    target = _Target(folder, manifest, temporary_beside(output), window)
    try:
        with storage_errors(output):
            try:
                note = target.write(audio_from, limits or MediaLimits())
                frames = _frames_in(target.path)
            except av.FFmpegError as error:
                if isinstance(error, OSError):
                    raise
                raise OutputError(f"the segments in {folder} cannot be remuxed ({error.strerror})") from error
        if frames != manifest.frames:
            raise OutputError(f"{frames} of {manifest.frames} frames arrived in {output}", hint="run again")
        publish(target.path, output, overwrite=overwrite)
    finally:
        target.path.unlink(missing_ok=True)
    return RemuxReport(frames, float(manifest.end - manifest.start), note)


@dataclass(frozen=True, slots=True)
class _Target:
    """One file in the making; each attempt at sound begins it anew."""

    folder: Path
    manifest: Manifest
    path: Path
    window: Window

    def write(self, audio_from: Path | None, limits: MediaLimits) -> str:
        """Write with the best sound that works: copied, else transcoded, else none. Returns what it was."""
        note = "none was asked for"
        if audio_from is not None:
            for kind in (CopiedAac, TranscodedAac):
                try:
                    with closing(SourceAudio(audio_from, limits)) as source:
                        return self._write(source, kind)
                except NoAudio:
                    note = "the source has none"
                    break
                except AudioFailed as error:
                    note = f"left out: {error}"
        self._write(None, None)
        return note

    def _write(self, source: SourceAudio | None, kind: type[CopiedAac] | type[TranscodedAac] | None) -> str:
        with closing(SegmentChain(self._files())) as chain, av.open(chain, "r", format="mp4") as segments:
            pictures = segments.streams.video[0]
            time_base = pictures.time_base or self.manifest.time_base
            timescale = str(time_base.denominator)
            with av.open(
                os.fspath(self.path),
                "w",
                format="mp4",
                container_options={
                    "movflags": "faststart+negative_cts_offsets",
                    "fflags": "+bitexact",
                    # Edit lists count in the movie's ticks; in milliseconds a start offset would be rounded.
                    "movie_timescale": timescale,
                    "video_track_timescale": timescale,
                },
            ) as container:
                stream = container.add_stream_from_template(pictures)
                stream.time_base = time_base
                track: AudioTrack | None = None
                if source is not None and kind is not None:
                    track = kind(source, container, self.window)
                _mux(container, _pictures(segments, stream), _guarded(track) if track else iter(()))
                return track.note if track else ""

    def _files(self) -> list[Path]:
        return [self.folder / INIT, *(self.folder / segment.name for segment in self.manifest.segments)]


_Timed = Iterator[tuple[Fraction, "av.Packet[Any]"]]


def _pictures(segments: av.container.InputContainer, stream: av.VideoStream) -> _Timed:
    for packet in segments.demux(video=0):
        if packet.dts is not None:  # the last, empty one only flushes
            packet.stream = stream
            yield packet.dts * packet.time_base, packet


def _guarded(track: AudioTrack) -> _Timed:
    try:
        yield from track.packets()
    except av.FFmpegError as error:
        raise AudioFailed(error.strerror) from error


def _mux(container: av.container.OutputContainer, pictures: _Timed, sound: _Timed) -> None:
    """In the order of time, so that the muxer holds little back."""
    for _, packet in heapq.merge(pictures, sound, key=lambda timed: timed[0]):
        try:
            container.mux_one(packet)
        except av.FFmpegError as error:
            if isinstance(packet.stream, av.AudioStream) and not isinstance(error, OSError):
                raise AudioFailed(f"an MP4 cannot hold it ({error.strerror})") from error
            raise


def _frames_in(path: Path) -> int:
    with av.open(os.fspath(path), format="mp4") as finished:
        return finished.streams.video[0].frames
