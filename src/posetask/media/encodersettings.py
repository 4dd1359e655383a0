"""How H.264 is encoded, as data: for those who say it, and need no encoder."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from posetask.telemetry import available_cores

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]


class EncoderSettings(BaseModel):
    """How the annotated video is encoded. Stands in the manifest; a resumed stream goes on with the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crf: int = Field(
        default=20,
        ge=0,
        le=51,
        description="Constant rate factor of x264, no unit; less is better and larger. The same picture "
        "quality at any frame rate.",
    )
    preset: Preset = Field(default="veryfast", description="x264's preset: CPU time against size.")
    motion: Literal["trimmed", "preset"] = Field(
        default="trimmed",
        description="'trimmed' searches inter partitions of 16x16 only, with one round of sub-pixel "
        "refinement: a third less CPU than veryfast's own search at the same quality, "
        "for 10 to 25 percent more bytes. "
        "'preset' leaves the search to the preset.",
    )
    lookahead: int = Field(
        default=5,
        ge=0,
        le=60,
        description="Frames that the rate control looks ahead; each delays the stream by one frame.",
    )
    threads: int = Field(
        default_factory=available_cores,
        ge=1,
        le=64,
        description="Encoder threads; by default the cores that the cgroup grants. Each delays by a frame.",
    )
    segment_seconds: float = Field(
        default=2.0,
        ge=0.1,
        le=30.0,
        description="Target length of a segment, in seconds: how much a crash can cost, and how far behind "
        "a live viewer is (about three segments).",
    )
    max_segment_frames: int = Field(
        default=600,
        ge=1,
        le=100_000,
        description="Frames after which a segment is cut whatever its length: it bounds the compressed bytes "
        "held in memory at high frame rates.",
    )

    @property
    def delay_frames(self) -> int:
        """Most frames written after a segment's last before that segment is durable."""
        return self.lookahead + 2 + (self.threads if self.threads > 1 else 0)

    def effective_crf(self, frame_rate: float) -> float:
        """What x264 is given at ``frame_rate`` (frames/s).

        Its macroblock tree gives a frame that is shown longer than 1/25 s more bits, by the power 0.4 of
        the ratio (``qcomp`` 0.6): 5.6 steps of quantisation at 5 frames/s, which doubles bytes and CPU
        for a difference that nobody sees. That is undone here.

        >>> settings = EncoderSettings(crf=20, threads=1)
        >>> settings.effective_crf(25), settings.effective_crf(30), round(settings.effective_crf(5), 1)
        (20.0, 20.0, 25.6)
        """
        slow = 25 / min(max(frame_rate, 1.0), 25.0)
        return min(51.0, self.crf + (6 * 0.4 * math.log2(slow) if self.lookahead else 0.0))

    def x264_params(self) -> str:
        """Options in x264's own language.

        Only the frames that we force are IDRs, GOPs are closed, there are no B-frames, and
        ``stitchable`` keeps parameter sets independent of the content, so that a segment of a resumed
        encoder follows one of its predecessor's under the same initialisation.
        """
        params = {
            "keyint": "infinite",
            "scenecut": "0",
            "open-gop": "0",
            "bframes": "0",
            "stitchable": "1",
            "rc-lookahead": str(self.lookahead),
        }
        if self.motion == "trimmed":
            params |= {"partitions": "i8x8,i4x4", "subme": "1"}
        return ":".join(f"{key}={value}" for key, value in params.items())
