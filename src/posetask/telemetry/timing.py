"""Where the time went: seconds of work by step, summed over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Timings:
    """Thread-safe sums of busy seconds, keyed ``stage.step`` (``yolox.infer``, ``annotator.encode``).

    Args:
        observe: Told every step and its seconds, from whichever thread did the work.

    >>> timings = Timings()
    >>> timings.add("yolox.infer", 0.25)
    >>> timings.add("yolox.infer", 0.25)
    >>> timings.seconds()
    {'yolox.infer': 0.5}
    """

    def __init__(self, observe: Callable[[str, float], None] | None = None) -> None:
        self._observe = observe
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    def add(self, step: str, seconds: float) -> None:
        """Add ``seconds`` of work to ``step``."""
        with self._lock:
            self._seconds[step] = self._seconds.get(step, 0.0) + seconds
        if self._observe is not None:
            self._observe(step, seconds)

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Time the body of a ``with`` as work of ``step``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(step, time.perf_counter() - start)

    def seconds(self) -> dict[str, float]:
        """A copy of the sums, largest first."""
        with self._lock:
            items = list(self._seconds.items())
        return dict(sorted(items, key=lambda item: -item[1]))
