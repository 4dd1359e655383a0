"""Kubernetes Events: what ``kubectl describe`` shows of a task's way. Losing one is no harm."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from posetask.errors import PoseTaskError
from posetask_operator.edge.client import Json, KubeClient
from posetask_operator.edge.faults import AlreadyThere, LeaseLost
from posetask_operator.edge.resources import EVENTS

logger = logging.getLogger(__name__)

CONTROLLER = "posetask.io/operator"
_NOTE_BYTES = 1024  # the API server's own limit


class Events:
    """Writes Events.

    Args:
        client: Fenced.
        identity: Of this process.
    """

    def __init__(self, client: KubeClient, identity: str) -> None:
        self._client, self._identity = client, identity

    async def emit(
        self, about: Json, kind: Literal["Normal", "Warning"], reason: str, message: str, *, once: str = ""
    ) -> None:
        """Write an event at an object; says so in the log where it cannot be written.

        Args:
            about: The object.
            kind: Normal or Warning.
            reason: CamelCase.
            message: For people.
            once: Two events of the same object, reason, message and ``once`` are one: a look that is cut
                off and done again says nothing twice.

        Raises:
            LeaseLost: This replica may not write.
        """
        body = event(about, kind, reason, message, self._identity, once)
        try:
            await self._client.create(EVENTS, body["metadata"]["namespace"], body)
        except AlreadyThere:
            return
        except LeaseLost:
            raise
        except PoseTaskError as error:
            logger.debug("event %s was not written: %s", reason, error)


def event(about: Json, kind: str, reason: str, message: str, identity: str, once: str) -> dict[str, Any]:
    """The event's manifest.

    >>> task = {"apiVersion": "posetask.io/v1alpha1", "kind": "PoseTask",
    ...         "metadata": {"namespace": "a", "name": "demo", "uid": "u"}}
    >>> one, two = (event(task, "Normal", "Admitted", "in", "op-1", "1") for _ in range(2))
    >>> one["metadata"]["name"] == two["metadata"]["name"], one["regarding"]["name"]
    (True, 'demo')
    """
    meta = about["metadata"]
    digest = hashlib.sha256("\0".join((meta["uid"], kind, reason, message, once)).encode()).hexdigest()[:16]
    namespace = meta.get("namespace", "default")
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{meta['name']}.{digest}", "namespace": namespace},
        "regarding": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": namespace,
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        },
        "type": kind,
        "reason": reason[:128],
        "note": message.encode()[:_NOTE_BYTES].decode(errors="ignore"),
        "action": reason[:128],
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": identity[:128],
    }
