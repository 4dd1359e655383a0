"""A stage of your own, whole: the mean brightness of every frame, beside the five.

python examples/brightness.py clip.mp4
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

import posetask
from posetask.messages import Frame, FrameHeader
from posetask.stages import Stage, StageParameters


@dataclass(frozen=True)
class Brightness:
    """Mean of all pixels, 0 to 255."""

    header: FrameHeader
    mean: float


class BrightnessParameters(StageParameters):
    """Parameters of the stage; checked before a run starts."""

    every_pixel: int = Field(4, ge=1, le=64, description="look at every Nth pixel in x and y")


class BrightnessStage(Stage[BrightnessParameters]):
    """Reads ``raw_frames``, writes ``brightness``."""

    name = "brightness"
    description = "mean brightness of every frame"
    port = 8110
    inputs = ("raw_frames",)
    output = "brightness"
    Parameters = BrightnessParameters
    concurrent = True

    def process(self, batch: Sequence[tuple[Frame]]) -> list[Brightness]:
        """One number a frame."""
        step = self.parameters.every_pixel
        return [Brightness(frame.header, float(frame.image[::step, ::step].mean())) for (frame,) in batch]


if __name__ == "__main__":
    for pose_frame in posetask.run(sys.argv[1], stages=[BrightnessStage], models="demo"):
        print(pose_frame.index, len(pose_frame.people), pose_frame.extra["brightness"])
