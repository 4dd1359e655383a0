"""What a run came to, as one typed object: printed by the CLI, returned by the API, written as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def summarise(
    facts: Mapping[str, Mapping[str, Any]],
    busy: Iterable[Mapping[str, float]],
    *,
    source: str,
    output: Path | None,
    exports: dict[str, Path],
    frames_declared: int | None,
    given_up: int,
    seconds: float,
    interrupted: bool,
    cores: int,
) -> Summary:
    """Of a run whose stages were processes: what they said of themselves, put together.

    Args:
        facts: By stage; see :meth:`posetask.stages.base.Stage.facts`.
        busy: Seconds of work by step, of every process.
        source: Name of the source.
        output: The annotated video; None without one.
        exports: Data files by format.
        frames_declared: The container's claim.
        given_up: Frames given up after crashes.
        seconds: Wall-clock.
        interrupted: The user ended it early.
        cores: Of this machine.
    """
    counts, decode = facts.get("annotator", {}), facts.get("producer", {}).get("decode", {})
    models = {"detector": facts.get("yolox", {}), "pose": facts.get("rtmpose", {})}
    whole: Counter[str] = Counter()
    for part in busy:
        whole.update(part)
    frames = int(counts.get("frames", 0))
    warnings = list(decode.get("problems", []))
    if given_up:
        warnings.append(f"{given_up} frames were given up after repeated crashes, and stand empty")
    return Summary(
        source=source,
        output=output,
        exports=exports,
        frames_declared=frames_declared,
        frames_decoded=int(decode.get("frames_decoded", frames)),
        frames_annotated=frames,
        people=int(counts.get("people", 0)),
        people_per_frame=round(counts.get("people_sum", 0) / frames, 3) if frames else 0.0,
        tracks=int(counts.get("tracks", 0)),
        seconds=seconds,
        fps=frames / seconds if seconds else 0.0,
        audio=str(counts.get("audio", "")),
        models={name: ModelUse(**said["model"]) for name, said in models.items() if "model" in said},
        warnings=warnings,
        interrupted=interrupted,
        busy=dict(whole.most_common()),
        cores=cores,
    )
