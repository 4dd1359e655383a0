"""Errors as problem documents: RFC 9457, ``application/problem+json``."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field

from posetask.errors import PoseTaskError, StageFailed

CONTENT_TYPE = "application/problem+json"
_TYPES = "https://posetask.io/problems/"


class Problem(BaseModel):
    """RFC 9457, section 3, and as extensions what every error of the tree knows."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str = Field(description="path that was asked for")
    code: str = Field(description="UPPER_SNAKE, for programs")
    hint: str = Field("", description="what to do next")
    retryable: bool = False

    @classmethod
    def of(cls, error: PoseTaskError, instance: str) -> Problem:
        """From an error of the tree.

        >>> from posetask.errors import UnknownTask
        >>> problem = Problem.of(UnknownTask("no task a-1"), "/services/a-1/status")
        >>> problem.status, problem.title, problem.code, problem.type
        (404, 'UnknownTask', 'UNKNOWN_TASK', 'https://posetask.io/problems/UNKNOWN_TASK')
        """
        return cls(
            type=_TYPES + error.code,
            title=error.reason,
            status=error.http_status,
            detail=error.message,
            instance=instance,
            code=error.code,
            hint=error.hint,
            retryable=error.retryable,
        )

    @classmethod
    def of_status(cls, status: int, detail: str, instance: str, hint: str = "") -> Problem:
        """From a plain HTTP status.

        >>> Problem.of_status(405, "PUT is not known here", "/services").code
        'METHOD_NOT_ALLOWED'
        """
        known = HTTPStatus(status)
        return cls(
            title=known.phrase, status=status, detail=detail, instance=instance, code=known.name, hint=hint
        )

    def error(self) -> PoseTaskError:
        """The error that it was made of, as far as that is known here.

        >>> from posetask.errors import TaskConflict
        >>> type(Problem.of(TaskConflict("taken"), "/services/start").error()).__name__
        'TaskConflict'
        """
        for kind in _kinds(PoseTaskError):
            if kind.__name__ == self.title:
                return kind(self.detail, hint=self.hint)
        return StageFailed(f"{self.title}: {self.detail}", hint=self.hint)


def _kinds(root: type[PoseTaskError]) -> list[type[PoseTaskError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]
