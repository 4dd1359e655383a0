"""Replays a result's poses in place of detector, pose and tracker: drawing again without inference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from posetask.exports import PoseCursor, read_poses
from posetask.messages import Frame, Tracks
from posetask.stages.base import Stage, StageParameters
from posetask.stages.names import BYTETRACK, RAW_FRAMES


class ReplayParameters(StageParameters):
    """Parameters of the replay."""

    poses: Path = Field(description="the Parquet file of a run")


class ReplayStage(Stage[ReplayParameters]):
    """Tracks from a file, on ``bytetrack``.

    Raises:
        InputError: The file is damaged, or its times are not those of the video.
    """

    name = "replay"
    description = "reads tracks from a Parquet result"
    port = 8106
    inputs = (RAW_FRAMES,)
    output = BYTETRACK
    Parameters: ClassVar[type[StageParameters]] = ReplayParameters

    _cursor: PoseCursor

    def open(self) -> None:
        """Open the file."""
        self._cursor = read_poses(self.parameters.poses).cursor()

    def process(self, batch: Sequence[tuple[Frame]]) -> list[Tracks]:
        """The tracks of each frame."""
        return [self._cursor.at(frame.header) for (frame,) in batch]
