"""What a stage's process is told: one model for ``posetask stage``, from a file or from the environment."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from posetask.errors import InvalidParameters, SourceNotFound
from posetask.exports import RunMetadata
from posetask.media.encodersettings import EncoderSettings
from posetask.media.jpeg import WireCodec
from posetask.messages import SourceInfo
from posetask.storage.location import Location
from posetask.transport import Window
from posetask.transport.kafka.names import Replica
from posetask.transport.kafka.window import raw_window

_PREFIX = "POSETASK_STAGE_"
_UNSAFE = re.compile(r"[^\w.-]", re.ASCII)


class StageProcessSpec(BaseModel):
    """One stage of one run. How to reach the brokers is not in here: see ``POSETASK_KAFKA_*``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(description="id of the run; the _<run> of topics and groups")
    stage: str = Field(description="name of the stage")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the stage")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cores: int | None = Field(None, ge=1, description="to size pools by; None = those of the cgroup")
    replica: int = Field(0, ge=0, description="which of the stage's processes this is")
    replicas: int = Field(1, ge=1, description="how many share the partitions")

    source: str | None = Field(None, description="producer: what to decode; annotator: where the sound is")
    start: float = Field(0.0, ge=0, description="seconds of the source to skip")
    duration: float | None = Field(None, gt=0, description="seconds to work on")
    max_frames: int | None = Field(None, ge=1, description="stop after so many frames")
    frame_rate: float = Field(25.0, gt=0, le=1000, description="of a sequence of images")
    live: bool = Field(False, description="the source cannot be read a second time")

    output: Path | None = Field(
        None, description="annotator: the MP4, a path, file: or s3://; data files stand beside it"
    )
    publish: str | None = Field(
        None, description="annotator: where output goes once it is whole; taken from an output of s3://"
    )
    formats: tuple[str, ...] = Field((), description="annotator: data files to write")
    video: bool = Field(True, description="annotator: draw and write the video")
    force: bool = Field(False, description="annotator: replace what an earlier run left")
    encoder: EncoderSettings = Field(default_factory=EncoderSettings, description="of the annotated video")
    metadata: RunMetadata | None = Field(None, description="annotator: what stands in the data files")

    wire_codec: str = Field("jpeg:90", description="of frames")
    window_readers: tuple[str, ...] = Field(
        ("yolox", "rtmpose", "annotator"), description="stages whose commits hold the producer back"
    )
    window_frames: int | None = Field(None, ge=1, description="of raw_frames; None = two segments and more")
    window_bytes: int = Field(64 * 2**20, ge=2**20, description="of raw_frames")

    listen: str | None = Field(
        None,
        pattern=r"^[^:\s]+:\d{1,5}$",
        description="host:port of /healthz, /readyz, /metrics and /status; None = loopback, the stage's port",
    )
    grace_seconds: float = Field(
        20.0, ge=0, le=3600, description="after SIGTERM, to finish what is under way"
    )

    @model_validator(mode="before")
    @classmethod
    def _place(cls, values: Any) -> Any:
        """An output that is in a store is written here first; one of ``file:`` is a path."""
        if not isinstance(values, dict) or not isinstance(values.get("output"), str):
            return values
        location = Location.parse(values["output"])
        if location.path is not None:
            return {**values, "output": location.path}
        if location.scheme != "s3":
            raise ValueError(f"nothing is written to {location.scheme}://; give a path or s3://BUCKET/KEY")
        if not Path(location.name).suffix:
            raise ValueError(f"{location.text} is no name of a video; give s3://BUCKET/…/NAME.mp4")
        folder = Path(tempfile.gettempdir()) / "posetask" / _UNSAFE.sub("-", str(values.get("run", "")))
        return {**values, "output": folder / location.name, "publish": location.text}

    @field_validator("wire_codec")
    @classmethod
    def _parses(cls, value: str) -> str:
        WireCodec.parse(value)
        return value

    @classmethod
    def load(cls, file: Path | None, environment: Mapping[str, str] | None = None, **given: Any) -> Self:
        """From a YAML or JSON file, then ``POSETASK_STAGE_<FIELD>`` over it, then what is given.

        Variables of fields that are no plain text hold JSON.

        Raises:
            SourceNotFound: There is no such file.
            InvalidParameters: Names what is wrong, and what there is.

        >>> spec = StageProcessSpec.load(None, {"POSETASK_STAGE_RUN": "demo", "POSETASK_STAGE_LIVE": "true"},
        ...                              stage="yolox")
        >>> spec.run, spec.live, spec.stage
        ('demo', True, 'yolox')
        """
        values: dict[str, Any] = _read(file) if file is not None else {}
        for name, text in (os.environ if environment is None else environment).items():
            if name.startswith(_PREFIX):
                field = name.removeprefix(_PREFIX).lower()
                values[field] = _parse_variable(text)
        values |= {name: value for name, value in given.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'the specification'}: "
                f"{e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise InvalidParameters(
                f"the specification of the stage: {said}",
                hint=f"its fields are {', '.join(cls.model_fields)}",
            ) from None

    @property
    def as_replica(self) -> Replica:
        """Which partitions are this process's."""
        return Replica(self.replica, self.replicas)

    def window(self, info: SourceInfo) -> Window:
        """Of ``raw_frames``: two segments, the encoder's delay, and what ``every_n`` holds back."""
        every_n = int(self.parameters.get("every_n", 1))
        if self.window_frames is not None:
            return Window(records=self.window_frames, nbytes=self.window_bytes, at_least=4 + every_n)
        rate = info.frame_rate or 25.0
        longest = min(self.encoder.max_segment_frames, math.ceil(rate * self.encoder.segment_seconds) + 1)
        return raw_window(longest, self.encoder.delay_frames, batch=8 + 2 * every_n, nbytes=self.window_bytes)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise SourceNotFound(f"{file} does not exist", hint="give the specification with --spec") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidParameters(f"{file} cannot be read: {error}", hint="it is YAML or JSON") from None
    if not isinstance(found, dict):
        raise InvalidParameters(f"{file} holds no mapping", hint="run: NAME, stage: NAME, …")
    return found


def _parse_variable(text: str) -> Any:
    if text[:1] in {"{", "["} or text in {"true", "false", "null"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
