"""What readers of videos and of images have in common."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

from posetask.media.frames import DecodedFrame
from posetask.messages import DecodeReport, SourceInfo


class FrameReader:
    """An iterator over frames and a context manager, which can be stopped from elsewhere.

    Attributes:
        info: What the source says of itself.
        report: What decoding came to; final when the iteration has ended.
        held: What must live as long as the reader, such as a copy that goes with its holder.
    """

    info: SourceInfo
    report: DecodeReport
    held: object = None
    _iterator: Generator[DecodedFrame, None, None]

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[DecodedFrame]:
        return self

    def __next__(self) -> DecodedFrame:
        return next(self._iterator)

    def stop(self) -> None:
        """End the iteration before its next frame; safe from any thread and from a signal handler."""
        self._stopped.set()

    def close(self) -> None:
        """End the iteration, if it has not ended, and release the source. For the iterating thread."""
        self._iterator.close()
        if not self.report.frames_decoded:  # never begun
            self.report.stopped_early = True
