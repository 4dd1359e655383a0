"""What readers of videos and of images yield, and what part of a source they can be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from posetask.errors import InvalidParameters
from posetask.messages import Image


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """One picture and its time.

    Attributes:
        pts: Presentation time in ticks of the source's time base; strictly increasing.
        duration: In ticks, 0 where the source does not say.
        image: ``(height, width, 3)`` uint8, BGR, upright, C-contiguous, read-only.
    """

    pts: int
    duration: int
    image: Image


def check_range(start: float, duration: float | None, max_frames: int | None) -> None:
    """Check what part of a source is asked for.

    Raises:
        InvalidParameters: A value is negative, zero or not finite.
    """
    if not (math.isfinite(start) and start >= 0):
        raise InvalidParameters(f"start is {start} s", hint="give 0 or more seconds")
    if duration is not None and not (math.isfinite(duration) and duration > 0):
        raise InvalidParameters(f"duration is {duration} s", hint="give more than 0 seconds")
    if max_frames is not None and max_frames < 1:
        raise InvalidParameters(f"max_frames is {max_frames}", hint="give 1 or more frames")
