"""What a result file says of itself: where the poses come from, and how to read them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from posetask.messages import COCO_17


def tool_version() -> str:
    """Name and version of this program, for example ``posetask 0.1.0``."""
    try:
        return f"posetask {version('posetask')}"
    except PackageNotFoundError:  # pragma: no cover - run from a tree that is not installed
        return "posetask"


class RunMetadata(BaseModel):
    """Facts about the run; stand in Parquet's file metadata (key ``posetask``) and in COCO's ``info``.

    Raises:
        pydantic.ValidationError: A field is missing or out of bounds.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["posetask.poses"] = "posetask.poses"
    format_version: int = Field(
        1, ge=1, description="raised when a reader of the one before would misread it"
    )
    tool: str = Field(default_factory=tool_version, description="what wrote the file")
    source: str = Field(description="name of the source, as given")
    source_sha256: str | None = Field(None, description="of the source file; null where it is no single file")
    width: int = Field(ge=1, description="pixels, upright")
    height: int = Field(ge=1, description="pixels, upright")
    frame_rate: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="average frames a second; 0: unknown"
    )
    frames: int | None = Field(
        None,
        ge=0,
        description="frames worked on, those without people included; known when the file is closed",
    )
    detector: str = Field("", description="model that found the people")
    detector_sha256: str = ""
    pose: str = Field("", description="model that found the keypoints")
    pose_sha256: str = ""
    skeleton: str = COCO_17.name
    keypoints: Annotated[tuple[str, ...], Field(min_length=1, max_length=1024)] = Field(
        COCO_17.keypoints, description="names, in the order of the data"
    )
    links: tuple[tuple[int, int], ...] = Field(
        COCO_17.links, description="limbs, as indices into keypoints from 0"
    )
    keypoint_threshold: float = Field(
        0.3, allow_inf_nan=False, description="COCO's visibility flag is 2 from this score on"
    )

    @field_validator("source", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        # A file's name may hold bytes that are no text (surrogates in Python); JSON cannot.
        return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
