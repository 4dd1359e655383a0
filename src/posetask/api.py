"""The Python face: iterate over a video's frames and the people in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from posetask.errors import InvalidParameters
from posetask.messages import Floats, Frame, Image, Message, Tracks
from posetask.runtime.embedded import EmbeddedRun
from posetask.runtime.options import RunOptions
from posetask.runtime.sources import resolve
from posetask.runtime.summary import Summary
from posetask.stages.base import Stage
from posetask.transport import Cancelled


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One tracked person in one frame; coordinates in pixels of the upright frame.

    Attributes:
        id: The same number for the same person, from 1.
        box: ``(4,)`` float32, left, top, right, bottom.
        score: Of the detection, 0 to 1.
        keypoints: ``(K, 2)`` float32 x, y; NaN where the pose was not estimated.
        keypoint_scores: ``(K,)`` float32; not probabilities.
    """

    id: int
    box: Floats
    score: float
    keypoints: Floats
    keypoint_scores: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PoseFrame:
    """One frame with its people.

    Attributes:
        index: From 0.
        time: Seconds, the source's own clock.
        image: ``(h, w, 3)`` uint8 BGR, upright, read-only; copy it to draw on it.
        people: In the tracker's order.
        interpolated: True between two analysed frames (``every_n``).
        extra: What the run's extra stages said of this frame, by topic.
    """

    index: int
    time: float
    image: Image
    people: tuple[Person, ...]
    interpolated: bool
    extra: Mapping[str, Message]

    @classmethod
    def of(cls, frame: Frame, tracks: Tracks, extra: Mapping[str, Message]) -> PoseFrame:
        """From the pipeline's own messages."""
        people = tuple(
            Person(int(tracks.ids[i]), tracks.xyxy[i], float(tracks.scores[i]), tracks.keypoints[i], scores)
            for i, scores in enumerate(tracks.keypoint_scores)
        )
        header = frame.header
        return cls(header.index, header.time, frame.image, people, tracks.interpolated, extra)


class Run:
    """A run under way: iterate over it, or just :meth:`wait`. Also a context manager, which stops it."""

    def __init__(self, running: EmbeddedRun) -> None:
        self._running = running
        self._summary: Summary | None = None
        running.start()

    def __iter__(self) -> Iterator[PoseFrame]:
        """Frames in order, as they are ready; the reader sets the pace. Leaving early cancels the run.

        Raises:
            PoseTaskError: The run failed.
        """
        try:
            for frame, tracks, extra in self._running.frames():
                yield PoseFrame.of(frame, tracks, extra)
        except GeneratorExit:
            self._running.cancel()
            raise
        except Cancelled:
            pass  # the failure itself is raised by wait()
        self.wait()

    def wait(self) -> Summary:
        """The end of the run; frames not yet read are worked, too, and passed over.

        Raises:
            PoseTaskError: The run failed.
        """
        if self._summary is None:
            with suppress(Cancelled):
                for _ in self._running.frames():
                    pass
            self._summary = self._running.wait()
        if self._summary is None:
            raise RuntimeError("an untimed wait returned early")
        return self._summary

    def stop(self) -> None:
        """End early; what is written is whole and valid."""
        self._running.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._summary is None:
            self._running.cancel()


def run(
    source: str | Path,
    output: str | Path | None = None,
    *,
    stages: Sequence[type[Stage[Any]]] = (),
    **options: Any,
) -> Run:
    """Find, pose and track the people in ``source``.

    Args:
        source: A video, an image, a folder or glob of images, or ``synth:…`` (a synthetic world).
        output: Annotated MP4 (image, folder); the data files go beside it. None writes nothing.
        stages: More stages to run beside the five.
        **options: See :class:`posetask.RunOptions`.

    Returns:
        A :class:`Run`: iterate over it.

    Raises:
        PoseTaskError: The source, a model, an option or the output is refused.

    >>> for frame in run("walk.mp4", models="demo"):
    ...     [(person.id, person.keypoints.shape) for person in frame.people]
    [(1, (17, 2))]
    [(1, (17, 2))]
    [(1, (17, 2))]
    [(1, (17, 2))]
    [(1, (17, 2))]
    >>> run("walk.mp4", "out.mp4", models="demo").wait().frames_annotated
    5
    """
    sources = resolve(source)
    if len(sources) != 1:
        names = ", ".join(one.name for one in sources[:5])
        raise InvalidParameters(
            f"{source} holds {len(sources)} videos ({names}, …)", hint="run them one by one"
        )
    parsed = RunOptions.parse(options)
    target = Path(output) if output is not None else None
    return Run(EmbeddedRun(sources[0], target, parsed, extra_stages=stages, follow=True))


__all__ = ["Person", "PoseFrame", "Run", "run"]
