"""A whole pipeline in one process: every stage on a thread of its own, over one bus."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from posetask.errors import PoseTaskError, StageFailed
from posetask.runtime.runner import StageProgress, StageRunner
from posetask.stages.base import Stage
from posetask.transport import Bus, Cancelled


class Pipeline:
    """Runs stages together until all have ended.

    Args:
        bus: Empty; readers other than the stages' must join it before ``start``.
        stages: The source and everything after it, in any order. A stage that nobody reads is welcome.
    """

    def __init__(self, bus: Bus, stages: Sequence[Stage[Any]]) -> None:
        names = [stage.name for stage in stages]
        if len(set(names)) < len(names):
            raise ValueError(f"every stage of a pipeline needs a name of its own: {names}")
        written = {stage.output for stage in stages}
        for stage in stages:
            lacking = [topic for topic in stage.inputs if topic not in written]
            if lacking:
                raise ValueError(f"stage {stage.name} reads {lacking}, which no stage of the pipeline writes")
        self._bus = bus
        # Readers join in the constructor of the runners, before anything is written.
        self._runners = [StageRunner.on(bus, stage) for stage in stages]
        self._failures: list[PoseTaskError] = []
        self._cancelled: list[Cancelled] = []
        self._threads = [
            threading.Thread(target=self._run, args=(runner,), name=runner.stage.name)
            for runner in self._runners
        ]

    @property
    def progress(self) -> dict[str, StageProgress]:
        """How far each stage is, by name."""
        return {runner.stage.name: runner.progress for runner in self._runners}

    def start(self) -> None:
        """Start every stage; returns at once."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            False where the time passed and stages still run.

        Raises:
            PoseTaskError: The first failure of any stage.
        """
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                return False
        for error in (*self._failures, *self._cancelled):
            raise error
        return True

    def cancel(self) -> None:
        """Give up: wake all stages, publish nothing."""
        self._bus.cancel(Cancelled("cancelled by the caller"))

    def _run(self, runner: StageRunner) -> None:
        try:
            runner.run()
        except Cancelled as error:  # whoever failed says why; one that was merely stopped has nothing to add
            self._cancelled.append(error)
        except PoseTaskError as error:
            self._failures.append(error)
        except BaseException as error:
            self._failures.append(StageFailed(f"stage {runner.stage.name} died: {error!r}"))
            self._bus.cancel(error)
