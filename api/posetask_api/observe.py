"""Around every request: an id that goes through, a line in the log, and the metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from posetask_api.metrics import ApiMetrics

logger = logging.getLogger("posetask_api.access")

HEADER = "X-Request-ID"
_GOOD = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(scope: Scope) -> str:
    """Of the request that is answered: the client's, if it is one, or one of our own."""
    known: str = scope.setdefault("state", {}).get("request_id", "")
    return known


class Observer:
    """ASGI middleware.

    Args:
        app: What answers.
        metrics: Told every request.
    """

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        made = given if _GOOD.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = made
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = made
            await send(message)

        begin = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - begin
            route: Any = scope.get("route")
            path = getattr(route, "path", "other")
            self._metrics.request(_known(scope["method"]), path, status, seconds)
            logger.info("%s %s %s %.3f s %s", scope["method"], scope["path"], status, seconds, made)


def _known(method: str) -> str:
    """A label's value: clients cannot make up more of them."""
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "OTHER"
