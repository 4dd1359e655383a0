"""From a source and an output path to the sink of its pictures; what cannot be is refused here."""

from __future__ import annotations

from pathlib import Path

from posetask.errors import InvalidParameters
from posetask.media.encodersettings import EncoderSettings
from posetask.media.inputs import Source
from posetask.messages import SourceInfo
from posetask.stages.sinks import ImageSink, PictureSink, VideoSink
from posetask.telemetry import Timings

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v"})


def check_output(output: Path, source: Source) -> None:
    """Refuse an output that is the source, or has no folder to lie in.

    Raises:
        InvalidParameters: Says which.
    """
    if output.exists() and any(output.samefile(path) for path in source.paths):
        raise InvalidParameters(f"{output} is the source itself", hint="choose another -o")
    if not output.parent.is_dir():
        raise InvalidParameters(f"{output.parent} is no folder", hint=f"mkdir -p {output.parent}")


def picture_sink(
    output: Path,
    source: Source,
    info: SourceInfo,
    *,
    encoder: EncoderSettings,
    start: float = 0.0,
    overwrite: bool = False,
    keep_stream: bool = False,
    timings: Timings,
    resumable: bool = False,
) -> PictureSink:
    """What takes the annotated frames: a video for ``.mp4``, an image or a folder of images otherwise.

    Raises:
        InvalidParameters: This source cannot become that output.
        OutputExists: It is there, and ``overwrite`` is False.
    """
    if output.suffix.lower() not in VIDEO_SUFFIXES:
        if source.kind == "video":
            raise InvalidParameters(
                f"{output.name}: a video's result is an MP4", hint=f"use -o {output.with_suffix('.mp4')}"
            )
        names = [path.name for path in source.paths]
        return ImageSink(output, names, overwrite=overwrite, timings=timings)
    if source.kind == "image":
        raise InvalidParameters("one image makes no video", hint="use -o NAME.jpg or -o NAME.png")
    return VideoSink(
        output,
        info,
        encoder,
        audio=source.paths[0] if info.audio_codec else None,
        rebase=start > 0,
        overwrite=overwrite,
        keep_stream=keep_stream,
        timings=timings,
        resumable=resumable,
    )
