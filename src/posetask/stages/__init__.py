"""Floor 2: the stages, and how to declare one."""

from posetask.stages.base import (
    Batching,
    Source,
    Stage,
    StageContext,
    StageParameters,
    parse_parameters,
    registered,
)

__all__ = [
    "Batching",
    "Source",
    "Stage",
    "StageContext",
    "StageParameters",
    "parse_parameters",
    "registered",
]
