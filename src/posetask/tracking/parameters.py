"""ByteTrack's parameters: what each is, in which unit, within which bounds, and why it has its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetask.errors import InvalidParameters

REFERENCE_FRAME_RATE = 30.0
"""Frames per second in which ``track_buffer`` counts, and what is taken where a source says no rate."""


class ByteTrackParameters(BaseModel):
    """Parameters of :class:`~posetask.tracking.bytetrack.ByteTracker`.

    The defaults are those of the published numbers (the paper's evaluation: 0.6, 0.9, 30). The
    authors' demo uses ``track_thresh=0.5, match_thresh=0.8``, which suits a detector whose scores run
    lower, such as YOLOX nano or tiny on people; their MOT20 runs use ``match_thresh=0.7, mot20=True``.

    >>> ByteTrackParameters().track_thresh
    0.6
    >>> ByteTrackParameters(track_buffer=60).max_time_lost(15.0)
    30
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    track_thresh: float = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        description="Detections scored above are matched first; those between 0.1 and it only keep "
        "alive what was tracked one frame ago. A new track needs 0.1 more.",
        json_schema_extra={"unit": "score", "reason": "the paper's evaluation; its demo uses 0.5"},
    )
    match_thresh: float = Field(
        default=0.9,
        gt=0.0,
        le=1.0,
        description="Largest cost, 1 - IoU x score, of a match in the first association. Boxes that do "
        "not touch are never matched.",
        json_schema_extra={"unit": "cost", "reason": "the paper's evaluation; its demo uses 0.8, MOT20 0.7"},
    )
    track_buffer: int = Field(
        default=30,
        ge=0,
        le=100_000,
        description="How long a lost track can be found again, in frames at 30 per second, whatever the "
        "real frame rate is: 30 is one second.",
        json_schema_extra={"unit": "frames at 30 fps", "reason": "the paper's"},
    )
    mot20: bool = Field(
        default=False,
        description="Do not weigh IoU with the score in the first and the third association.",
        json_schema_extra={"unit": "", "reason": "the paper's choice for very dense crowds"},
    )
    frame_rate: float | None = Field(
        default=None,
        gt=0.0,
        le=10_000.0,
        description="Frames per second at which the tracker is called (the source's, divided by N "
        "where every Nth frame is analysed). None: what the source says.",
        json_schema_extra={"unit": "1/s", "reason": "it turns track_buffer into frames"},
    )

    @property
    def new_track_thresh(self) -> float:
        """Score that a detection needs to start a track."""
        return self.track_thresh + 0.1

    def max_time_lost(self, frame_rate: float) -> int:
        """Frames for which a lost track is kept when the tracker is called ``frame_rate`` times a second."""
        return int(frame_rate / REFERENCE_FRAME_RATE * self.track_buffer)


def parse_parameters(values: Mapping[str, Any]) -> ByteTrackParameters:
    """Parameters from anyone's names and values.

    Raises:
        InvalidParameters: A name is unknown, or a value is of the wrong type or out of bounds.

    >>> parse_parameters({"track_thresh": "0.5"}).track_thresh
    0.5
    >>> parse_parameters({"track_thresh": 5})
    Traceback (most recent call last):
    posetask.errors.InvalidParameters: track_thresh: Input should be less than or equal to 1 (got 5); ...
    """
    try:
        return ByteTrackParameters.model_validate(dict(values))
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})"
            for e in error.errors(include_url=False)
        )
        names = ", ".join(ByteTrackParameters.model_fields)
        raise InvalidParameters(told, hint=f"ByteTrack knows {names}") from error
