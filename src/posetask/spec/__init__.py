"""Floor 1: a PoseTask's specification and status, as pydantic models; the CRD is generated from them."""

from posetask.spec.base import API_VERSION, GROUP, KIND, NAME_LIMIT, PLURAL, VERSION, Instant, rfc3339
from posetask.spec.conditions import Condition, ConditionStatus, ConditionType
from posetask.spec.reasons import Reason
from posetask.spec.spec import (
    Cleanup,
    Deadlines,
    Execution,
    Format,
    Output,
    PoseTaskSpec,
    Sampling,
    Scheduling,
    Source,
)
from posetask.spec.stage import (
    BUILT_IN,
    PARALLEL,
    Accelerator,
    ParameterValue,
    Resources,
    StageSpec,
    effective_stages,
    partitions,
)
from posetask.spec.status import (
    ModelStatus,
    PoseTaskStatus,
    Progress,
    Queue,
    Result,
    StageStatus,
    State,
)
from posetask.spec.task import ObjectMeta, PoseTask

__all__ = [
    "API_VERSION",
    "BUILT_IN",
    "GROUP",
    "KIND",
    "NAME_LIMIT",
    "PARALLEL",
    "PLURAL",
    "VERSION",
    "Accelerator",
    "Cleanup",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Deadlines",
    "Execution",
    "Format",
    "Instant",
    "ModelStatus",
    "ObjectMeta",
    "Output",
    "ParameterValue",
    "PoseTask",
    "PoseTaskSpec",
    "PoseTaskStatus",
    "Progress",
    "Queue",
    "Reason",
    "Resources",
    "Result",
    "Sampling",
    "Scheduling",
    "Source",
    "StageSpec",
    "StageStatus",
    "State",
    "effective_stages",
    "partitions",
    "rfc3339",
]
