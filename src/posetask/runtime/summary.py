"""What a run came to, as one typed object: printed by the CLI, returned by the API, written as JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ModelUse(BaseModel):
    """A model that a run used."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    provider: str = Field(description="execution provider that really ran it")


class Summary(BaseModel):
    """The end of a run.

    Attributes are in the order in which they are shown; seconds are wall-clock unless said otherwise.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    output: Path | None = Field(description="annotated video or images; None with --no-video")
    exports: dict[str, Path] = Field(description="data files by format")
    frames_declared: int | None = Field(description="the container's claim; information only")
    frames_decoded: int
    frames_annotated: int
    people: int = Field(description="most people in one frame")
    people_per_frame: float = Field(description="mean")
    tracks: int = Field(description="distinct identities")
    seconds: float
    fps: float = Field(description="frames annotated a second of the whole run, loading the models included")
    audio: str = Field("", description="what became of the sound")
    models: dict[str, ModelUse]
    warnings: list[str] = Field(description="what is missing or could not be trusted")
    interrupted: bool = Field(
        False, description="ended early by the user; what stands here is whole and valid"
    )
    busy: dict[str, float] = Field(description="seconds of work by step, summed over threads, largest first")
    cores: int
    peak_rss_mib: float | None = Field(None, description="most memory this process has held")
