"""What a stage's process says of itself: on ``posetask_progress``, at ``/status``, and as its last word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from posetask.errors import PoseTaskError, StageFailed

TERMINATION_LOG = Path("/dev/termination-log")
State = Literal["starting", "running", "done", "stopped", "failed"]


class Failure(BaseModel):
    """An error of the tree, as data; one line of JSON as a termination message."""

    model_config = ConfigDict(frozen=True)

    reason: str = Field(description="CamelCase, as in a condition")
    message: str
    hint: str = ""
    retryable: bool = False
    exit_code: int = 1

    @classmethod
    def of(cls, error: PoseTaskError) -> Self:
        """From the error.

        >>> from posetask.errors import TopicLost
        >>> Failure.of(TopicLost("it is gone", hint="submit again")).model_dump_json(exclude={"hint"})
        '{"reason":"TopicLost","message":"it is gone","retryable":false,"exit_code":26}'
        """
        return cls(
            reason=error.reason,
            message=error.message,
            hint=error.hint,
            retryable=error.retryable,
            exit_code=error.exit_code,
        )


class StageReport(BaseModel):
    """How far one stage of one run is."""

    model_config = ConfigDict(frozen=True)

    run: str
    stage: str
    replica: int = Field(0, description="which of the stage's processes this is")
    replicas: int = Field(1, description="how many it has")
    instance: str = Field(description="of the process: a new one for every start")
    state: State
    frames: int = Field(0, description="done, by earlier processes too")
    quarantined: int = Field(0, description="frames that this process gave up")
    starts: int = Field(1, description="how often a process began at the place where this one did")
    lag: dict[str, int] = Field(default_factory=dict, description="records that wait, by input")
    facts: dict[str, Any] = Field(default_factory=dict, description="what the stage itself says")
    busy: dict[str, float] = Field(default_factory=dict, description="seconds of work by step")
    cores: int = 1
    error: Failure | None = None

    @property
    def key(self) -> str:
        """What it stands under: the stage's name, with the number of a replica that is not alone."""
        return process_key(self.stage, self.replica, self.replicas)


def process_key(stage: str, replica: int = 0, replicas: int = 1) -> str:
    """Name of one process of a run.

    >>> process_key("yolox"), process_key("yolox", 1, 2)
    ('yolox', 'yolox.1')
    """
    return stage if replicas == 1 else f"{stage}.{replica}"


def write_last_words(error: PoseTaskError) -> None:
    """One line of JSON where Kubernetes looks for it, or where ``POSETASK_TERMINATION_LOG`` says."""
    given = os.environ.get("POSETASK_TERMINATION_LOG")
    path = Path(given) if given else TERMINATION_LOG
    if given or path.exists():
        with suppress(OSError):  # the error itself is what matters
            path.write_text(Failure.of(error).model_dump_json() + "\n")


def error_of(failure: Failure) -> PoseTaskError:
    """The error that a process wrote down.

    >>> type(error_of(Failure(reason="TopicLost", message="it is gone"))).__name__
    'TopicLost'
    >>> error_of(Failure(reason="Strange", message="it broke")).message
    'Strange: it broke'
    """
    for kind in _kinds(PoseTaskError):
        if kind.__name__ == failure.reason:
            return kind(failure.message, hint=failure.hint)
    return StageFailed(f"{failure.reason}: {failure.message}", hint=failure.hint)


def _kinds(root: type[PoseTaskError]) -> Iterator[type[PoseTaskError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)
