"""Errors of the API server in our tree: what happened, whether waiting mends it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posetask.errors import PoseTaskError, Unavailable


class ApiUnavailable(Unavailable):
    """The API server is away, overloaded, or its answer was lost on the way.

    Attributes:
        retry_after: Seconds that the server asks us to wait; None where it does not say.
        sent: Whether the request may have reached the server, so that a write may have happened.
    """

    retry_after: float | None = None
    sent: bool = True


class Conflict(Unavailable):
    """The object changed since it was read, or is going; look again and decide anew."""


class AlreadyThere(PoseTaskError):
    """An object of this name exists."""

    http_status = 409


class ForeignObject(PoseTaskError):
    """An object of this name exists, and it belongs to somebody else."""

    http_status = 409


class NotThere(PoseTaskError):
    """There is no such object, or no such kind."""

    http_status = 404


class Expired(Unavailable):
    """The list was asked for at a version that the server no longer has (410)."""


class Forbidden(PoseTaskError):
    """RBAC or an admission policy refuses the operator."""

    http_status = 403


class NamespaceTerminating(PoseTaskError):
    """The namespace is being deleted: nothing can be made in it any more."""

    http_status = 403


class Refused(PoseTaskError):
    """The API server finds the object invalid."""

    http_status = 422


class LeaseLost(PoseTaskError):
    """This replica no longer holds the lease: it may not write, and ends."""

    exit_code = 3


_BUSY = frozenset({429, 500, 502, 503, 504})


def api_fault(
    status: int, body: Mapping[str, Any], doing: str, *, retry_after: str | None = None
) -> PoseTaskError:
    """The error for an answer of the API server.

    Args:
        status: Of HTTP, 400 or more.
        body: The ``Status`` object, or anything else.
        doing: What we were at: ``create jobs demo/yolox``.
        retry_after: The header's text.

    >>> api_fault(409, {"reason": "AlreadyExists"}, "create jobs a/b").reason
    'AlreadyThere'
    """
    reason, said = str(body.get("reason", "")), str(body.get("message", "") or f"HTTP {status}")
    text = f"{doing}: {said[:500]}"
    if status == 401:
        return Forbidden(text, hint="the operator's credentials are refused; check its service account")
    if status == 403:
        if has_cause(body, "NamespaceTerminating"):
            return NamespaceTerminating(text, hint="wait until the namespace is gone")
        return Forbidden(text, hint="give the operator's role this verb, or see the policy that refused")
    if status == 404:
        return NotThere(text, hint="it was deleted; if the kind itself is missing, apply crds/posetasks.yaml")
    if status == 409:
        return AlreadyThere(text) if reason == "AlreadyExists" else Conflict(text, hint="trying again")
    if status == 410:
        return Expired(text, hint="listing again")
    if status in _BUSY:
        error = ApiUnavailable(text, hint="trying again")
        error.retry_after = _seconds(retry_after)
        error.sent = status != 429  # 429 comes before the server looks at the request
        return error
    return Refused(text, hint="the operator made an object that this server does not take; see its version")


def has_cause(body: Mapping[str, Any], cause: str) -> bool:
    """Whether a ``Status`` names this cause.

    >>> has_cause({"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, "NamespaceTerminating")
    True
    """
    details = body.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return any(isinstance(c, Mapping) and c.get("reason") == cause for c in causes or ())


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:  # the other form is a date; the API server does not send it
        return None
