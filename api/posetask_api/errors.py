"""What only the REST face refuses; everything else is in :mod:`posetask.errors`."""

from __future__ import annotations

from posetask.errors import InputError, Unavailable


class ResultNotReady(InputError):
    """The task has no result yet."""

    http_status = 404

    @property
    def code(self) -> str:
        """As clients of the first release know it."""
        return "result_not_ready"


class TaskFailed(InputError):
    """The task ended without a result, and will never have one."""

    http_status = 404


class BadForm(InputError):
    """The body is no whole multipart form with one file in it."""

    http_status = 400


class NotAForm(InputError):
    """The body is something else than a multipart form."""

    http_status = 415


class UploadTooLarge(InputError):
    """The file is larger than the limit."""

    http_status = 413


class RangeNotSatisfiable(InputError):
    """The file ends before the range that was asked for begins."""

    http_status = 416


class QueueFull(Unavailable):
    """So many tasks wait already that no more are taken."""
