"""Progress of an embedded run: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

PLAIN_EVERY_SECONDS = 5.0
"""Between two plain lines: logs stay short, and a long run is still seen to live."""


class Reporter(Protocol):
    """Shows how far a run is."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, frames: int, people: int) -> None:
        """``frames`` are done, ``people`` were the most in one."""
        ...


class Rate:
    """Frames a second over the last few seconds.

    >>> rate = Rate(seconds=10)
    >>> rate.add(0, now=0.0), rate.add(50, now=2.0)
    (0.0, 25.0)
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._points: list[tuple[float, int]] = []

    def add(self, frames: int, now: float) -> float:
        """Note that ``frames`` were done at ``now``; returns the rate."""
        self._points.append((now, frames))
        while len(self._points) > 2 and now - self._points[0][0] > self._seconds:
            self._points.pop(0)
        (then, before) = self._points[0]
        return (frames - before) / (now - then) if now > then else 0.0


class BarReporter:
    """A bar with frames, speed, people and time left."""

    def __init__(self, console: Console, name: str, total: int | None) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn() if total else TextColumn("{task.completed} frames"),
            *([TaskProgressColumn()] if total else []),
            TextColumn("[cyan]{task.fields[fps]:5.1f} fps"),
            TextColumn("[green]{task.fields[people]} people"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=total, fps=0.0, people=0)
        self._rate = Rate()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, frames: int, people: int) -> None:
        """Move the bar."""
        fps = self._rate.add(frames, time.monotonic())
        self._progress.update(self._task, completed=frames, fps=fps, people=people)


class PlainReporter:
    """One line now and then, for logs and pipes."""

    def __init__(self, console: Console, name: str, total: int | None) -> None:
        self._console, self._name, self._total = console, name, total
        self._rate = Rate()
        self._next = 0.0

    def __enter__(self) -> Self:
        self._next = time.monotonic() + PLAIN_EVERY_SECONDS
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def update(self, frames: int, people: int) -> None:
        """Print a line when one is due."""
        now = time.monotonic()
        fps = self._rate.add(frames, now)
        if now < self._next:
            return
        self._next = now + PLAIN_EVERY_SECONDS
        of = f"/{self._total}" if self._total else ""
        left = f", {(self._total - frames) / fps:.0f} s left" if self._total and fps else ""
        line = f"{self._name}: {frames}{of} frames, {fps:.1f} fps, {people} people{left}"
        self._console.print(line, markup=False, soft_wrap=True)


def reporter(console: Console, name: str, total: int | None) -> Reporter:
    """A bar where someone watches a terminal, plain lines otherwise."""
    kind = BarReporter if console.is_terminal else PlainReporter
    return kind(console, name, total)
