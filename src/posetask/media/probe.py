"""What a source says of itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from posetask.media.hdr import transfer
from posetask.media.limits import MediaLimits
from posetask.media.orientation import Orientation
from posetask.media.pump import Pump
from posetask.media.sniff import sniff
from posetask.messages import SourceInfo

_FASTEST = 1000
_DEMUXER_NAMES = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}


def probe(path: Path, limits: MediaLimits | None = None) -> SourceInfo:
    """Describe a video or an image.

    The limits are checked on the container's claims; then one frame is decoded, because pixel format,
    colour and rotation stand in the pictures themselves in most formats. Where that frame is damaged beyond
    decoding, the container's claims are all there is.

    Raises:
        InputError: See ``docs/inputs.md`` for what is refused, and why.
    """
    if sniff(path).kind == "image":
        from posetask.media.images import ImageReader  # and its codecs: for those who have images

        return ImageReader([path], limits=limits).info
    pump = Pump(path, limits or MediaLimits(), threads=1)
    try:
        return describe(path, pump, next(pump.frames(), None))
    finally:
        pump.close()


def describe(path: Path, pump: Pump, frame: av.VideoFrame | None) -> SourceInfo:
    """Put together what the opened container and its first frame say."""
    stream, container = pump.stream, pump.container
    context = stream.codec_context
    orientation = Orientation() if frame is None else Orientation.of_frame(frame)
    width, height = (context.width, context.height) if frame is None else (frame.width, frame.height)
    upright = orientation.size(width, height)
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    if aspect <= 0:
        aspect = Fraction(1)
    trc = int(context.color_trc if frame is None else frame.color_trc)
    # PyAV's stubs do not say so, but a stream without a decoder has no context.
    contexts = [getattr(other, "codec_context", None) for other in container.streams.audio]
    audio = next((context for context in contexts if context is not None), None)
    duration = pump.claim.seconds
    if duration is None and container.duration is not None:
        duration = Fraction(container.duration, 1_000_000)
    return SourceInfo(
        uri=str(path),
        container=_DEMUXER_NAMES.get(container.format.name, container.format.name),
        codec=context.codec.canonical_name,
        pixel_format=(context.pix_fmt if frame is None else frame.format.name) or "",
        width=upright[0],
        height=upright[1],
        rotation=orientation.rotation,
        time_base=pump.time_base,
        frame_rate=_frame_rate(pump, frame),
        duration=None if duration is None or duration <= 0 else float(duration),
        frames_declared=stream.frames or None,
        audio_codec=None if audio is None else audio.codec.canonical_name,
        hdr=transfer(trc),
        sample_aspect_ratio=1 / aspect if orientation.transpose else aspect,
    )


def _frame_rate(pump: Pump, frame: av.VideoFrame | None) -> float:
    stream = pump.stream
    shown = Fraction(frame.duration) * pump.time_base if frame is not None else Fraction(0)
    candidates = (
        stream.average_rate,
        1 / shown if shown else None,
        stream.guessed_rate,
        stream.base_rate,
        stream.frames / pump.claim.seconds if stream.frames and pump.claim.seconds else None,
    )
    return next((float(rate) for rate in candidates if rate and 0 < rate <= _FASTEST), 0.0)
