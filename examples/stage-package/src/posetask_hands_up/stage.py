"""The stage: a wrist above the nose is a hand up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from posetask.messages import COCO_17, Tracks
from posetask.stages import Stage, StageParameters
from posetask_hands_up.message import HandsUp

_NOSE, *_WRISTS = (COCO_17.keypoints.index(name) for name in ("nose", "left_wrist", "right_wrist"))


class HandsUpParameters(StageParameters):
    """Parameters of the stage; checked before a task starts, whoever starts it."""

    keypoint_threshold: float = Field(
        0.3, ge=0.0, le=1.5, description="keypoints with a lower score are not believed"
    )
    margin_percent: int = Field(
        5, ge=0, le=100, description="so far above the nose, in percent of the person's height"
    )


class HandsUpStage(Stage[HandsUpParameters]):
    """Reads ``bytetrack``, writes ``hands_up``: one message for every frame."""

    name = "hands-up"
    description = "who holds a hand up"
    port = 8111
    inputs = ("bytetrack",)
    output = "hands_up"
    Parameters: ClassVar[type[StageParameters]] = HandsUpParameters
    concurrent = True

    def process(self, batch: Sequence[tuple[Tracks]]) -> list[HandsUp]:
        """Count the hands of everybody in each frame."""
        return [HandsUp(tracks.header, self._count(tracks)) for (tracks,) in batch]

    def empty(self, inputs: tuple[Tracks]) -> HandsUp:
        """Nobody, in a frame that this stage could not survive."""
        return HandsUp(inputs[0].header, {})

    def _count(self, tracks: Tracks) -> dict[int, int]:
        p = self.parameters
        height = tracks.xyxy[:, 3] - tracks.xyxy[:, 1]
        # Up is less in y. Poses that were not estimated are NaN, and so is every comparison with them.
        above = tracks.keypoints[:, [_NOSE], 1] - tracks.keypoints[:, _WRISTS, 1]
        believed = tracks.keypoint_scores >= p.keypoint_threshold
        seen = believed[:, [_NOSE]] & believed[:, _WRISTS]
        with np.errstate(invalid="ignore"):
            up = seen & (above > p.margin_percent / 100 * height[:, None])
        return {int(person): int(count) for person, count in zip(tracks.ids, up.sum(axis=1), strict=True)}
