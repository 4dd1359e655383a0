"""The annotator: draws the tracked people on every frame and writes the video and the data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from posetask.drawing.annotator import PoseAnnotator
from posetask.errors import DamagedInput
from posetask.exports import MultiWriter
from posetask.messages import EndOfStream, Frame, Image, Message, Tracks
from posetask.stages.base import Stage, StageContext, StageParameters
from posetask.stages.names import BYTETRACK, RAW_FRAMES
from posetask.stages.sinks import PictureReport, PictureSink


class AnnotatorParameters(StageParameters):
    """Parameters of the picture."""

    boxes: bool = Field(False, description="draw the tracker's boxes")
    ids: bool = Field(True, description="draw the people's ids")
    frame_counter: bool = Field(False, description="draw the frame's number and time in a corner")
    keypoint_threshold: float = Field(
        0.3, ge=0.0, le=1.5, description="keypoints with a lower score are not drawn"
    )
    strict: bool = Field(False, description="publish nothing of a damaged source")


@dataclass(slots=True)
class AnnotatorCounts:
    """What went by. Written by the stage, read by anyone.

    Attributes:
        frames: Annotated so far.
        people: Most in one frame.
        people_sum: Over all frames; with ``frames`` the mean.
        tracks: Distinct ids.
    """

    frames: int = 0
    people: int = 0
    people_sum: int = 0
    tracks: int = 0


class AnnotatorStage(Stage[AnnotatorParameters]):
    """Ends the pipeline: pictures to a sink, tracks to the exports.

    Args:
        parameters: Of the picture.
        context: The run.
        sink: Takes the drawn frames; None draws none.
        exports: Takes the tracks; None writes none.
        pressed: Asked after each frame whether the frames that are not stored yet must be let go of soon;
            the current segment is then ended early.
    """

    name = "annotator"
    description = "draws the tracked poses and writes video and data"
    port = 8105
    inputs = (RAW_FRAMES, BYTETRACK)
    output = None
    replays = (BYTETRACK,)  # the exports are written anew, from the first frame on
    Parameters: ClassVar[type[StageParameters]] = AnnotatorParameters

    def __init__(
        self,
        parameters: AnnotatorParameters,
        context: StageContext,
        sink: PictureSink | None,
        exports: MultiWriter | None,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(parameters, context)
        self.counts = AnnotatorCounts()
        self.pictures: PictureReport | None = None
        self.exported: dict[str, Path] = {}
        self._sink, self._exports, self._pressed = sink, exports, pressed
        self._ids: set[int] = set()
        self._pen: PoseAnnotator | None = None
        self._canvas: Image | None = None
        self._finished, self._sha256 = False, ""

    def process(self, batch: Sequence[tuple[Frame, Tracks]]) -> Sequence[Message]:
        """Draw and write each frame."""
        timings = self.context.timings
        for frame, tracks in batch:
            if self._sink is not None:
                with timings.measure("annotator.draw"):
                    canvas = self._draw(frame, tracks)
                self._sink.write(frame.header, canvas)
                if self._pressed():
                    self._sink.cut()
            self.recall((tracks,))
        return ()

    def recall(self, inputs: tuple[Tracks]) -> None:
        """Write the data of a frame, whose picture is stored already or written by the caller."""
        (tracks,) = inputs
        if self._exports is not None:
            with self.context.timings.measure("annotator.export"):
                self._exports.write(tracks)
        self._count(tracks)

    @property
    def kept_index(self) -> int | None:
        """Frames of complete segments."""
        return self._sink.kept_index if self._sink is not None else None

    def finish(self, end: EndOfStream) -> Sequence[Message]:
        """Publish the pictures, then the data.

        Raises:
            DamagedInput: Frames are missing, and ``strict`` was asked for.
        """
        if self.parameters.strict and end.report.damaged:
            raise DamagedInput(
                f"the source is damaged: {'; '.join(end.report.problems)}",
                hint="run again without --strict to get what can be decoded",
            )
        if self._sink is not None:
            self.pictures = self._sink.close()
            if self.pictures.path.is_file():
                with self.pictures.path.open("rb") as file:
                    self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self._exports is not None:
            self.exported = self._exports.close(end.frames)
        self._finished = True
        return ()

    def facts(self) -> dict[str, Any]:
        """Counts, and at the end what was written."""
        out: dict[str, Any] = asdict(self.counts)
        if self.pictures is not None:
            out |= {"output": str(self.pictures.path), "audio": self.pictures.audio}
            out |= {"sha256": self._sha256} if self._sha256 else {}
        return out | {"exports": {name: str(path) for name, path in self.exported.items()}}

    def close(self) -> None:
        """Without a clean end nothing is published."""
        if self._finished:
            return
        if self._sink is not None:
            self._sink.abort()
        if self._exports is not None:
            self._exports.abort()

    def _draw(self, frame: Frame, tracks: Tracks) -> Image:
        # The frame on the bus is everyone's; its one copy is made here, into a canvas that is used again.
        if self._canvas is None or self._canvas.shape != frame.image.shape:
            p, header = self.parameters, frame.header
            self._canvas = np.empty_like(frame.image)
            self._pen = PoseAnnotator(
                header.width,
                header.height,
                boxes=p.boxes,
                ids=p.ids,
                frame_counter=p.frame_counter,
                keypoint_threshold=p.keypoint_threshold,
            )
        np.copyto(self._canvas, frame.image)
        if self._pen is not None:
            self._pen.draw(self._canvas, tracks)
        return self._canvas

    def _count(self, tracks: Tracks) -> None:
        counts = self.counts
        self._ids.update(tracks.ids.tolist())
        counts.frames += 1
        counts.people = max(counts.people, len(tracks))
        counts.people_sum += len(tracks)
        counts.tracks = len(self._ids)
