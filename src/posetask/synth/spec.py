"""What a world is made from; every frame follows from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Difficulty(StrEnum):
    """``easy``: few people, near, little in the way. ``hard``: small people, crowds, things in front."""

    EASY = "easy"
    HARD = "hard"


class CameraMotion(StrEnum):
    """How the camera is held."""

    STILL = "still"
    MOVING = "moving"


class Place(StrEnum):
    """Where it happens. ``any`` lets the seed choose."""

    ANY = "any"
    ROOM = "room"
    STREET = "street"
    PARK = "park"
    CLUTTER = "clutter"


class Paths(StrEnum):
    """How people keep clear of each other.

    ``apart``: each has a sector of the view, so that people are rarely in front of each other.
    ``crossing``: each has a distance from the camera: people pass in front of each other, not through.
    ``free``: anywhere.
    """

    APART = "apart"
    CROSSING = "crossing"
    FREE = "free"


class WorldSpec(BaseModel):
    """A world. Frozen and hashable; equal specs give equal frames.

    Attributes:
        seed: All chance comes from it.
        width: Pixels.
        height: Pixels.
        frame_rate: Frames per second.
        frames: Length of the clip.
        people: How many live in it; not all are in the picture at all times.
        difficulty: See :class:`Difficulty`.
        number_code: Burn the frame number into the pixels (:mod:`posetask.synth.framecode`).
        camera: See :class:`CameraMotion`.
        place: See :class:`Place`.
        paths: See :class:`Paths`; None is ``apart`` in an easy world and ``free`` in a hard one.
        min_height: Height of a standing adult at the far end, as a fraction of the picture's height;
            None takes the difficulty's.
        max_height: The same at the near end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    width: Annotated[int, Field(ge=64, le=7680)] = 640
    height: Annotated[int, Field(ge=64, le=4320)] = 360
    frame_rate: Annotated[float, Field(gt=0, le=240)] = 25.0
    frames: Annotated[int, Field(ge=1, le=1 << 20)] = 150
    people: Annotated[int, Field(ge=0, le=200)] = 4
    difficulty: Difficulty = Difficulty.EASY
    number_code: bool = False
    camera: CameraMotion = CameraMotion.MOVING
    place: Place = Place.ANY
    paths: Paths | None = None
    min_height: Annotated[float, Field(gt=0.01, le=2)] | None = None
    max_height: Annotated[float, Field(gt=0.01, le=2)] | None = None

    @property
    def ways(self) -> Paths:
        """How people keep clear of each other, the default worked out."""
        return self.paths or (Paths.FREE if self.difficulty is Difficulty.HARD else Paths.APART)

    @property
    def heights(self) -> tuple[float, float]:
        """Smallest and largest height of a standing adult, as fractions of the picture's height."""
        hard = self.difficulty is Difficulty.HARD
        low = self.min_height or (24 / self.height * 1.1 if hard else 0.26)
        high = self.max_height or (1.0 if hard else 0.72)
        return min(low, high), max(low, high)
