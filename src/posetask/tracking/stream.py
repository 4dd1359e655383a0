"""A whole stream of detections through the tracker, from arrays to arrays."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posetask.errors import InvalidParameters
from posetask.tracking.bytetrack import ByteTracker
from posetask.tracking.measurements import usable_sizes
from posetask.tracking.parameters import ByteTrackParameters

MAX_FRAMES = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DetectionStream:
    """Detections of a stream, by frame; within a frame in the order in which they were given.

    Attributes:
        frame: ``(N,)`` int32, from 1, non-decreasing.
        xyxy: ``(N, 4)`` float32 or float64, pixels.
        scores: ``(N,)`` of the same type.
        reordered: True where the frames were not in order and had to be sorted.
    """

    frame: npt.NDArray[np.int32]
    xyxy: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]
    reordered: bool = False

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def last_frame(self) -> int:
        """Number of the last frame that has a detection, 0 without any."""
        return int(self.frame[-1]) if len(self.frame) else 0

    @property
    def unusable(self) -> int:
        """Boxes that the tracker leaves out: inside out, or without a height."""
        size = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return int((~usable_sizes(size[:, 0], size[:, 1])).sum())


@dataclass(frozen=True, slots=True, eq=False)
class TrackStream:
    """Tracks of a stream, by frame; within a frame in the tracker's own order.

    Attributes:
        frame: ``(K,)`` int32, from 1.
        ids: ``(K,)`` int32, from 1.
        tlwh: ``(K, 4)`` float64, pixels.
        scores: ``(K,)`` of the input's type.
        det_index: ``(K,)`` int32: row of the detection within its frame.
        frames: How many frames were worked.
        seconds: Time spent in the tracker.
    """

    frame: npt.NDArray[np.int32]
    ids: npt.NDArray[np.int32]
    tlwh: npt.NDArray[np.float64]
    scores: npt.NDArray[np.floating]
    det_index: npt.NDArray[np.int32]
    frames: int
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def tracks(self) -> int:
        """Different ids."""
        return len(np.unique(self.ids))


def track_stream(
    detections: DetectionStream,
    parameters: ByteTrackParameters,
    *,
    frame_rate: float = 0.0,
    frames: int | None = None,
) -> TrackStream:
    """Track a stream from frame 1 to its last, empty frames included.

    Args:
        detections: The stream.
        parameters: The tracker's.
        frame_rate: Frames per second of the stream, 0 if unknown.
        frames: How many frames the stream has; None ends it with the last detection.

    Raises:
        InvalidParameters: There are detections after ``frames``, or too many frames.
    """
    last = detections.last_frame if frames is None else frames
    if last < detections.last_frame:
        raise InvalidParameters(
            f"there are detections in frame {detections.last_frame}, but {last} frames were declared",
            hint=f"declare at least {detections.last_frame}, or leave the number out",
        )
    if last > MAX_FRAMES:
        raise InvalidParameters(
            f"{last} frames are more than the {MAX_FRAMES} that one stream can have",
            hint="check the frame numbers, or cut the stream in pieces",
        )
    tracker = ByteTracker(parameters, frame_rate)
    ends = np.searchsorted(detections.frame, np.arange(last + 1), side="right").tolist()
    outputs = []
    began = time.perf_counter()
    for start, end in itertools.pairwise(ends):
        outputs.append(tracker.update(detections.xyxy[start:end], detections.scores[start:end]))
    seconds = time.perf_counter() - began
    counts = [len(out.ids) for out in outputs]
    dtype = detections.scores.dtype
    return TrackStream(
        np.repeat(np.arange(1, last + 1, dtype=np.int32), counts),
        np.concatenate([np.zeros(0, np.int32), *(out.ids for out in outputs)]),
        np.concatenate([np.zeros((0, 4)), *(out.tlwh for out in outputs)]),
        np.concatenate([np.zeros(0, dtype), *(out.scores for out in outputs)]).astype(dtype, copy=False),
        np.concatenate([np.zeros(0, np.int32), *(out.det_index for out in outputs)]),
        last,
        seconds,
    )
