"""Labels of a run's Jobs and pods, by which the watches select them."""

from __future__ import annotations

from typing import Final

RUN_LABEL: Final = "posetask.io/run"
STAGE_LABEL: Final = "posetask.io/stage"
ATTEMPT_LABEL: Final = "posetask.io/attempt"
