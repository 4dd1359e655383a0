"""Opening a container so that nothing is decoded, followed or believed before the limits are checked."""

from __future__ import annotations

import os
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from posetask.errors import (
    FormatNotAllowed,
    InputError,
    NotAVideo,
    NoVideoStream,
    SourceNotFound,
    TooManyStreams,
    Truncated,
    UnsupportedCodec,
)
from posetask.media import boxes
from posetask.media.limits import MediaLimits
from posetask.media.sniff import Content, refusal, sniff

_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails


def open_video(path: Path, limits: MediaLimits) -> tuple[InputContainer, VideoStream]:
    """Open ``path`` and choose its video stream. Nothing has been decoded when this returns.

    FFmpeg is given one demuxer, the one that the first bytes ask for, one protocol, ``file``, and no decoder
    (``codec_whitelist``): its own analysis would otherwise decode pictures of any size to learn about them.

    Raises:
        SourceNotFound, NotAVideo, FormatNotAllowed, NoVideoStream, UnsupportedCodec, Truncated,
        TooManyPixels, TooLong, TooManyStreams: See ``docs/inputs.md``.
    """
    content = sniff(path)
    if content.kind != "video":
        raise refusal(path, content)
    if content.format not in limits.demuxers:
        raise FormatNotAllowed(
            f"{path} is {content.name}, which is not allowed here",
            hint=f"allowed: {', '.join(limits.demuxers)}",
        )
    formats = _check_boxes(path, limits) if content.format == "mov" else ()
    container = _open(path, content, limits)
    try:
        limits.check_streams(str(path), len(container.streams))
        stream = _choose(path, container, formats)
        context = stream.codec_context
        limits.check_size(str(path), context.width, context.height)
        if stream.duration is not None and stream.time_base is not None:
            limits.check_seconds(str(path), stream.duration * stream.time_base)
        if container.duration is not None:
            limits.check_seconds(str(path), container.duration / 1_000_000)
    except BaseException:
        container.close()
        raise
    return container, stream


def _check_boxes(path: Path, limits: MediaLimits) -> tuple[str, ...]:
    found = boxes.inspect(path, limits.max_streams)
    if not found.has_index:
        raise Truncated(
            f"{path} is cut short: its index (moov) is missing, so nothing in it can be decoded",
            hint="the recording or the copy was not finished; fetch the file again",
        )
    limits.check_streams(str(path), found.tracks)
    if found.external:
        raise FormatNotAllowed(
            f"{path} keeps its pictures in another file, and those are never opened",
            hint="make it self-contained: ffmpeg -i IN -c copy OUT.mp4",
        )
    return found.formats


def _open(path: Path, content: Content, limits: MediaLimits) -> InputContainer:
    try:
        return av.open(
            f"file:{os.path.abspath(path)}",  # a name with a colon is no protocol then
            mode="r",
            format=content.format,
            container_options={
                "format_whitelist": content.format,
                "protocol_whitelist": ",".join(limits.protocols),
                "codec_whitelist": "none",
                "max_streams": str(limits.max_streams + 1),
                "enable_drefs": "0",
                "use_absolute_path": "0",
            },
            metadata_errors="replace",
        )
    except av.FileNotFoundError:
        raise SourceNotFound(f"{path} does not exist", hint="check the path") from None
    except av.PermissionError:
        raise InputError(f"{path} cannot be read", hint="check its permissions") from None
    except av.MemoryError:
        raise TooManyStreams(
            f"{path} asks for more than {limits.max_streams} streams, or for tables that no video needs",
            hint="keep the video alone: ffmpeg -i IN -map 0:v:0 -c copy OUT",
        ) from None
    except (av.FFmpegError, ValueError, OSError):
        raise Truncated(
            f"{path} begins like {content.name}, but its header is cut short or damaged",
            hint="fetch the file again",
        ) from None


def _choose(path: Path, container: InputContainer, formats: tuple[str, ...]) -> VideoStream:
    videos = [stream for stream in container.streams.video if not stream.disposition & _PICTURES]
    if not videos:
        if not len(container.streams):
            raise NotAVideo(f"{path} has no streams", hint="fetch the file again")
        kinds = ", ".join(
            sorted({"still pictures" if s.disposition & _PICTURES else s.type for s in container.streams})
        )
        raise NoVideoStream(f"{path} has no video, only {kinds}", hint="give a file with video")
    best = container.streams.best("video")
    # PyAV's stubs do not say so, but a stream without a decoder has no context.
    decodable = [stream for stream in videos if getattr(stream, "codec_context", None) is not None]
    if not decodable:
        index = videos[0].index
        name = formats[index] if index < len(formats) else ""
        named = f" ({name!r})" if name.isprintable() and name else ""
        raise UnsupportedCodec(
            f"{path}: there is no decoder for its video{named}",
            hint="convert it: ffmpeg -i IN -c:v libx264 OUT.mp4",
        )
    chosen = next((stream for stream in decodable if best is not None and stream.index == best.index), None)
    if chosen is None:
        chosen = max(decodable, key=lambda s: s.codec_context.width * s.codec_context.height)
    return chosen
