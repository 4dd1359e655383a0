"""The tracker stage: who is who, by ByteTrack (Zhang et al. 2022, arXiv 2110.06864)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from posetask.messages import EndOfStream, FrameHeader, Poses, Tracks
from posetask.stages.base import Stage, StageContext, StageParameters
from posetask.stages.names import BYTETRACK, RTMPOSE
from posetask.tracking.bytetrack import ByteTracker, ByteTrackParameters
from posetask.tracking.interpolate import interpolate


class BytetrackParameters(StageParameters):
    """Parameters of the tracker; the defaults are those of the published numbers."""

    track_thresh: float = Field(0.6, ge=0.1, le=0.99, description="detections above are matched first")
    match_thresh: float = Field(
        0.9, gt=0.0, le=1.0, description="largest cost (1 - IoU x score) of a first match"
    )
    track_buffer: int = Field(30, ge=0, le=10_000, description="a lost track lives so many frames at 30 fps")
    mot20: bool = Field(False, description="do not weigh the first match by score (crowds)")
    every_n: int = Field(
        1, ge=1, le=1000, description="frames are analysed every N; sets the tracker's frame rate"
    )


class BytetrackStage(Stage[BytetrackParameters]):
    """Tracks, on ``bytetrack``; frames between two analysed ones wait until they can be interpolated."""

    name = "bytetrack"
    description = "gives people identities with ByteTrack"
    port = 8104
    inputs = (RTMPOSE,)
    output = BYTETRACK
    replays = (RTMPOSE,)  # ids survive because the same tracker sees the same poses again
    Parameters: ClassVar[type[StageParameters]] = BytetrackParameters

    def __init__(self, parameters: BytetrackParameters, context: StageContext) -> None:
        super().__init__(parameters, context)
        self._tracker: ByteTracker | None = None
        self._last: Tracks | None = None
        self._between: list[FrameHeader] = []

    def process(self, batch: Sequence[tuple[Poses]]) -> list[Tracks]:
        """Track the analysed frames; interpolate those between once both ends are known."""
        out: list[Tracks] = []
        with self.context.timings.measure("bytetrack.track"):
            for (poses,) in batch:
                if not poses.header.analysed:
                    self._between.append(poses.header)
                    continue
                tracks = self._update(poses)
                if self._last is not None:
                    out += [interpolate(self._last, tracks, header) for header in self._between]
                self._between.clear()
                self._last = tracks
                out.append(tracks)
        return out

    def finish(self, end: EndOfStream) -> list[Tracks]:
        """Frames after the last analysed one keep its tracks, marked as interpolated."""
        held, self._between = self._between, []
        if self._last is None:
            return [Tracks.empty(header, interpolated=True) for header in held]
        unmatched = np.full_like(self._last.det_index, -1)
        return [replace(self._last, header=h, det_index=unmatched, interpolated=True) for h in held]

    def _update(self, poses: Poses) -> Tracks:
        if self._tracker is None:
            self._tracker = self._start(poses.header)
        found = self._tracker.update(poses.xyxy, poses.scores)
        xyxy = found.tlwh.astype(np.float32)
        xyxy[:, 2:] += xyxy[:, :2]
        return Tracks(
            poses.header,
            found.ids,
            xyxy,
            found.scores.astype(np.float32),
            found.det_index,
            poses.keypoints[found.det_index],
            poses.keypoint_scores[found.det_index],
        )

    def _start(self, header: FrameHeader) -> ByteTracker:
        p = self.parameters
        return ByteTracker(
            ByteTrackParameters(
                track_thresh=p.track_thresh,
                match_thresh=p.match_thresh,
                track_buffer=p.track_buffer,
                mot20=p.mot20,
            ),
            frame_rate=(header.frame_rate or 30.0) / p.every_n,
        )
