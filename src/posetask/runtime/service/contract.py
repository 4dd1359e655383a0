"""What callers of a service say and hear: requests and answers of the eight endpoints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetask.errors import InvalidParameters
from posetask.runtime.reports import Failure
from posetask.runtime.stagespec import StageProcessSpec

TASK_ID = r"[a-z0-9][a-z0-9-]{0,60}"
"""A run's id: it ends the names of topics and groups."""
OWN = frozenset({"run", "stage", "device", "cores", "listen", "grace_seconds"})
"""Fields of a stage's specification that the service decides, not the task."""
FIELDS = tuple(name for name in StageProcessSpec.model_fields if name not in OWN)

Status = Literal["queued", "starting", "running", "waiting", "stopping", "completed", "stopped", "failed"]
"""``queued`` until it may resume, ``waiting`` before it is tried again; the last three are ends."""
ENDS: frozenset[Status] = frozenset({"completed", "stopped", "failed"})


class StartRequest(BaseModel):
    """Body of ``POST /services/start``: a task's id, and what differs from the defaults.

    Besides the fields below it takes those of :class:`StageProcessSpec` that are not the service's own
    (:data:`FIELDS`): ``parameters``, ``source``, ``output`` and so on.

    >>> StartRequest(task_id="lobby-1f2e3d4c", source="in.mp4").given
    {'source': 'in.mp4'}
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    task_id: str = Field(pattern=f"^{TASK_ID}$", description="id of the run; topics end with it")
    partitions: int = Field(1, ge=1, le=64, description="of the run's frame topics, where they are made")
    topics_after_seconds: float | None = Field(
        60.0, ge=0, description="from the task's end until its topics go; None: they stay until they expire"
    )
    no_frames_seconds: float | None = Field(
        600.0, gt=0, description="a task through which no frame went for so long has failed; None: never"
    )

    @property
    def given(self) -> dict[str, Any]:
        """Fields of the stage's specification."""
        return dict(self.model_extra or {})

    @property
    def bare(self) -> bool:
        """It says no more than the id."""
        return self.model_fields_set == {"task_id"}

    def spec(self, stage: str, **own: Any) -> StageProcessSpec:
        """What the stage is to do.

        Args:
            stage: Its name.
            own: What the service decides; ``parameters`` go under the task's.

        Raises:
            InvalidParameters: Names what is wrong, and what there is.
        """
        unknown = sorted(set(self.given) - set(FIELDS))
        if unknown:
            raise InvalidParameters(
                f"a task has no {', '.join(unknown)}",
                hint=f"besides {', '.join(type(self).model_fields)} there are {', '.join(FIELDS)}",
            )
        parameters = {**own.pop("parameters", {}), **_mapping(self.given.get("parameters"))}
        values = {**own, **self.given, "parameters": parameters, "run": self.task_id, "stage": stage}
        return StageProcessSpec.load(None, {}, **values)


def _mapping(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidParameters("parameters is no mapping", hint='{"parameters": {"name": value}}')
    return value


class TaskStatus(BaseModel):
    """How far a task is in this service."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    service: str
    status: Status
    frames: int = Field(0, description="done, by earlier processes too")
    quarantined: int = Field(0, description="frames given up since it was last started")
    tries: int = Field(1, description="how often it was started since its last progress")
    lag: dict[str, int] = Field(default_factory=dict, description="records that wait, by input")
    facts: dict[str, Any] = Field(default_factory=dict, description="what the stage itself says")
    busy: dict[str, float] = Field(default_factory=dict, description="seconds of work by step")
    created_at: float = Field(description="seconds since 1970")
    ended_at: float | None = None
    topics_removed: bool = Field(False, description="by this service, after the task's end")
    error: Failure | None = None


class TaskList(BaseModel):
    """All tasks that the service knows, the oldest first."""

    model_config = ConfigDict(frozen=True)

    service: str
    tasks: list[TaskStatus]


class ServiceInfo(BaseModel):
    """What the service is: its stage's declaration, and how it was started."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str
    implementation: str = Field(description="module and class of the stage")
    version: str
    port: int = Field(description="declared; the service may listen elsewhere")
    inputs: list[str] = Field(description="patterns of topics read")
    output: str | None = Field(description="pattern of the topic written")
    parameters: dict[str, Any] = Field(description="JSON schema of the stage's parameters")
    defaults: dict[str, Any] = Field(description="parameters that every task has unless it says otherwise")
    fields: list[str] = Field(description="what a start may say besides parameters")
    model: dict[str, Any] = Field(description="name, sha256 and provider of what is loaded; empty without")


class Health(BaseModel):
    """Whether the service does its work."""

    model_config = ConfigDict(frozen=True)

    service: str
    status: Literal["ok", "degraded"] = Field(description="degraded: no broker answers; tasks wait for one")
    kafka: Literal["reachable", "away"]
    uptime_seconds: float
    tasks: dict[str, int] = Field(description="how many there are in each state")


def parse_start(body: object) -> StartRequest:
    """A request from JSON.

    Raises:
        InvalidParameters: Names each bad field.
    """
    try:
        return StartRequest.model_validate(body)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors())
        raise InvalidParameters(said, hint='the least is {"task_id": "ID"}') from None
