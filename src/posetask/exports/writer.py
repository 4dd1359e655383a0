"""What a writer of results is, and what all those that write one file have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from posetask.errors import StageFailed
from posetask.exports.metadata import RunMetadata
from posetask.messages import FrameHeader, Tracks
from posetask.storage.durable import Output, storage_errors

_INT64 = 2**63 - 1


class ResultWriter(Protocol):
    """Takes the tracks of every frame, in order, and makes a file of them."""

    @property
    def path(self) -> Path:
        """Where the result will be."""
        ...

    def write(self, tracks: Tracks) -> None:
        """Take one frame, also one without people. Memory stays bounded, however many there are."""
        ...

    def finish(self, frames: int | None = None) -> None:
        """Complete the file on disk, still under a temporary name; nothing can be written after."""
        ...

    def publish(self) -> None:
        """Give the finished file its name."""
        ...

    def close(self, frames: int | None = None) -> Path:
        """Do both, and return where it is."""
        ...

    def abort(self) -> None:
        """Leave nothing behind. Harmless when closed, and when called twice."""
        ...


class FileWriter(ABC):
    """One file, streamed under a temporary name.

    Args:
        path: The result. Its folder must exist.
        metadata: Of the run.
        overwrite: Replace what is there.

    Raises:
        OutputExists: There is such a file, and ``overwrite`` is False.
        OutputError: It cannot be written.
        StorageFull: No space left; also from every other method that writes.
    """

    def __init__(self, path: Path, metadata: RunMetadata, overwrite: bool = False) -> None:
        self.metadata = metadata
        self._frames = 0
        self._last = -1
        self._open = True
        self._output = Output(path, overwrite=overwrite)
        try:
            with storage_errors(path):
                self._begin()
        except BaseException:
            self.abort()
            raise

    @property
    def path(self) -> Path:
        """Where the result will be."""
        return self._output.path

    def write(self, tracks: Tracks) -> None:
        """Take the people of one frame.

        Raises:
            StageFailed: The frame does not come after the last one, or has another number of keypoints.
            ValueError: The writer is closed.
        """
        if not self._open:
            raise ValueError(f"{self.path.name} is closed")
        index, keypoints = tracks.header.index, len(self.metadata.keypoints)
        if index <= self._last:
            raise StageFailed(f"frame {index} was to be exported after frame {self._last}")
        if len(tracks) and tracks.keypoints.shape[1] != keypoints:
            raise StageFailed(
                f"frame {index} has {tracks.keypoints.shape[1]} keypoints a person, not {keypoints}",
                hint="the pose model's skeleton must be the one in the metadata",
            )
        with storage_errors(self.path):
            self._write(tracks)
        self._last = index
        self._frames += 1

    def finish(self, frames: int | None = None) -> None:
        """Complete the file under its temporary name.

        Args:
            frames: How many frames the run had; as many as were written, if not given.
        """
        if not self._open:
            raise ValueError(f"{self.path.name} is closed")
        self._open = False
        self.metadata = self.metadata.model_copy(
            update={"frames": self._frames if frames is None else frames}
        )
        with storage_errors(self.path):
            self._end()
            self._output.finish()

    def publish(self) -> None:
        """Give the finished file its name.

        Raises:
            OutputExists: Someone else made such a file meanwhile.
        """
        self._output.publish()

    def close(self, frames: int | None = None) -> Path:
        """Complete the file and give it its name; on failure nothing is left."""
        try:
            self.finish(frames)
            self.publish()
        except BaseException:
            self.abort()
            raise
        return self.path

    def abort(self) -> None:
        """Leave nothing behind. Harmless when closed, and when called twice."""
        self._open = False
        self._release()
        self._output.discard()

    def _begin(self) -> None:  # noqa: B027 - most formats have no beginning
        """Write what stands before the first frame."""

    @abstractmethod
    def _write(self, tracks: Tracks) -> None:
        """Write one frame."""

    def _end(self) -> None:  # noqa: B027
        """Write what stands after the last frame; ``self.metadata`` is complete."""

    def _release(self) -> None:  # noqa: B027
        """Let go of what is held besides the file; must not raise."""


def microseconds(header: FrameHeader) -> int:
    """Presentation time in whole microseconds, rounded to the nearest; kept within int64.

    >>> from fractions import Fraction
    >>> microseconds(FrameHeader(index=1, pts=1001, time_base=Fraction(1, 30000), width=2, height=2))
    33367
    """
    base = header.time_base
    ticks, per = header.pts * base.numerator * 1_000_000, base.denominator
    return max(-_INT64, min(_INT64, (2 * ticks + per) // (2 * per)))


def with_finite_box(tracks: Tracks) -> npt.NDArray[np.intp]:
    """Rows whose box can be written where a format knows no null."""
    return np.flatnonzero(np.isfinite(tracks.xyxy).all(axis=1))
