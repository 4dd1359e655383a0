"""What a caller can ask of an embedded run: one model for the CLI, the Python API and the local server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from posetask.errors import InvalidParameters
from posetask.exports import FORMATS
from posetask.media.encodersettings import EncoderSettings
from posetask.media.jpeg import WireCodec
from posetask.messages import SourceInfo


class RunOptions(BaseModel):
    """Options of ``posetask run`` and :func:`posetask.run`; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Literal["demo"] | None = Field(
        None, description="a named pair of models; 'demo' knows synthetic people only"
    )
    detector: str | None = Field(
        None, description="catalogue name or path of an .onnx; None = the best pulled"
    )
    pose: str | None = Field(None, description="catalogue name or path of an .onnx; None = the best pulled")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where inference runs")
    every_n: int = Field(1, ge=1, le=1000, description="analyse every Nth frame, interpolate between")
    start: float = Field(0.0, ge=0, description="seconds of the source to skip")
    duration: float | None = Field(None, gt=0, description="seconds to work on; None = to the end")
    max_frames: int | None = Field(None, ge=1, description="stop after so many frames")
    formats: tuple[str, ...] = Field(FORMATS, description="data written beside the video")
    video: bool = Field(True, description="draw and write the annotated video")
    strict: bool = Field(False, description="fail on a damaged source rather than warn")
    force: bool = Field(False, description="replace existing outputs")
    keep_stream: bool = Field(False, description="leave the HLS stream beside the MP4")
    wire_codec: str | None = Field(
        None, description="pass every frame once through a wire codec, e.g. jpeg:90"
    )
    boxes: bool = Field(False, description="draw boxes")
    frame_counter: bool = Field(False, description="draw frame numbers")
    track_thresh: float = Field(0.6, ge=0.1, le=0.99, description="detections above are matched first")
    match_thresh: float = Field(0.9, gt=0, le=1, description="largest cost of a first match")
    track_buffer: int = Field(30, ge=0, le=10_000, description="a lost track lives so many frames at 30 fps")
    mot20: bool = Field(False, description="do not weigh the first match by score (crowds)")
    encoder: EncoderSettings = Field(default_factory=EncoderSettings, description="of the annotated video")
    frame_rate: float = Field(
        25.0, gt=0, le=1000, description="of a sequence of images; videos have their own"
    )

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in FORMATS]
        if unknown:
            raise ValueError(f"unknown formats {unknown}; known are {', '.join(FORMATS)}")
        return value

    @field_validator("wire_codec")
    @classmethod
    def _parses(cls, value: str | None) -> str | None:
        if value is not None:
            WireCodec.parse(value)
        return value

    @model_validator(mode="after")
    def _one_way_to_name_models(self) -> Self:
        if self.models and (self.detector or self.pose):
            raise ValueError("give either models or detector and pose, not both")
        return self

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Self:
        """Options from names and values of anyone's.

        Raises:
            InvalidParameters: Says of each bad one what is wrong with it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = (
                f"{'.'.join(map(str, e['loc'])) or 'options'}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise InvalidParameters(
                "; ".join(problems), hint="posetask run --help lists the options and their bounds"
            ) from None

    def frames_expected(self, info: SourceInfo) -> int | None:
        """How many frames a run of this source will have, by the container's claims; None if unknown."""
        total = info.frames_declared
        if total is not None and info.frame_rate:
            total = max(0, total - round(self.start * info.frame_rate))
            if self.duration is not None:
                total = min(total, round(self.duration * info.frame_rate))
        if self.max_frames is not None:
            total = self.max_frames if total is None else min(total, self.max_frames)
        return total

    @property
    def stage_parameters(self) -> dict[str, dict[str, Any]]:
        """Parameters of the five stages, by stage.

        >>> RunOptions(models="demo", every_n=2).stage_parameters["yolox"]
        {'model': 'demo'}
        """
        tracker = {"track_thresh", "match_thresh", "track_buffer", "mot20", "every_n"}
        return {
            "producer": {"every_n": self.every_n},
            "yolox": {"model": self.detector_name},
            "rtmpose": {"model": self.pose_name},
            "bytetrack": self.model_dump(include=tracker),
            "annotator": self.model_dump(include={"boxes", "frame_counter", "strict"}),
        }

    @property
    def detector_name(self) -> str | None:
        """What to resolve as the detector."""
        return self.models or self.detector

    @property
    def pose_name(self) -> str | None:
        """What to resolve as the pose estimator."""
        return self.models or self.pose


def default_output(source: str, kind: str) -> Path:
    """Where a result goes without ``-o``: beside nothing of the user's, in the current folder.

    >>> str(default_output("walk.mov", "video"))
    'walk-posetask.mp4'
    >>> str(default_output("team.jpg", "image"))
    'team-posetask.jpg'
    """
    return Path(f"{Path(source).stem}-posetask{'.jpg' if kind == 'image' else '.mp4'}")
