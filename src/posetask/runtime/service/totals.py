"""What a service has done since it began, over all tasks: counters that never shrink when one ends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from posetask.runtime.work import StageWork
from posetask.telemetry.metrics import StageSample


class Totals:
    """Frames, bytes and frames given up; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames = self._quarantined = self._written = 0
        self._read: Counter[str] = Counter()

    def add_frames(self, frames: int) -> None:
        """So many more are done."""
        with self._lock:
            self._frames += frames

    def retire(self, work: StageWork) -> None:
        """A work has ended: keep what it did."""
        sample = work.sample()
        with self._lock:
            self._quarantined += sample.quarantined
            self._written += sample.written
            self._read.update(sample.read)

    def sample(
        self, works: Sequence[StageWork], *, ready: bool, model: Mapping[str, Any], tasks: Mapping[str, int]
    ) -> StageSample:
        """What Prometheus is told.

        Args:
            works: Under way now.
            ready: Whether the service is.
            model: What it has loaded.
            tasks: How many there are in each state.
        """
        samples = [work.sample() for work in works]
        lag: Counter[str] = Counter()
        with self._lock:
            read = self._read.copy()
            for one in samples:
                read.update(one.read)
                lag.update(one.lag)
            return StageSample(
                frames=self._frames,
                quarantined=self._quarantined + sum(one.quarantined for one in samples),
                ready=ready,
                lag=lag,
                read=read,
                written=self._written + sum(one.written for one in samples),
                model=model,
                tasks=tasks,
            )
