"""What a source says of itself before and after decoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What probing says, before the first frame is decoded. All of it is the container's claim.

    Attributes:
        uri: The path as given.
        container: FFmpeg's demuxer name, for example ``mov,mp4,m4a,3gp,3g2,mj2``; ``image`` for images.
        codec: For example ``h264``.
        pixel_format: For example ``yuv420p10le``.
        width: Pixels, upright (rotation applied).
        height: Pixels, upright.
        rotation: Degrees clockwise that were applied to make it upright: 0, 90, 180, 270.
        time_base: Seconds per tick of the frames' pts.
        frame_rate: Average frames per second, 0 if unknown.
        duration: Seconds, None if unknown.
        frames_declared: The container's count, None if unknown. Information only.
        audio_codec: None without sound.
        hdr: ``pq`` or ``hlg`` for high dynamic range (tone-mapped to BT.709), else None.
    """

    uri: str
    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    time_base: Fraction
    frame_rate: float
    rotation: int = 0
    duration: float | None = None
    frames_declared: int | None = None
    audio_codec: str | None = None
    hdr: str | None = None
    sample_aspect_ratio: Fraction = Fraction(1)


@dataclass(slots=True)
class DecodeReport:
    """What decoding came to. Travels with the end of the stream.

    Attributes:
        frames_decoded: Frames handed on.
        frames_declared: The container's count; information only.
        corrupt_packets: Packets or frames flagged corrupt, or refused by the decoder.
        missing_seconds: How much shorter than the container says the presented duration is.
        problems: Each kind of damage, once, in words.
        stopped_early: True where a limit of the user's (``--duration``, ``--max-frames``, Ctrl-C) ended it.
    """

    frames_decoded: int = 0
    frames_declared: int | None = None
    corrupt_packets: int = 0
    missing_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def damaged(self) -> bool:
        """True where anything was lost or could not be trusted."""
        return bool(self.problems)
