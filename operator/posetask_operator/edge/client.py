"""The API server as plain dicts: every request has a time-out, every write is fenced, every error a name.

Nothing here knows what a Pod looks like: typed models refuse fields that are newer than they are.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

from posetask_operator.edge.connect import Connection
from posetask_operator.edge.faults import (
    AlreadyThere,
    ApiUnavailable,
    Conflict,
    Expired,
    ForeignObject,
    NotThere,
    api_fault,
)
from posetask_operator.edge.resources import Resource

Json = dict[str, Any]
Guard = Callable[[], float]
"""Raises ``LeaseLost`` where writing is not allowed; else the seconds for which it still is."""

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_writing: ContextVar[bool] = ContextVar("posetask_writing", default=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects and the version of the collection at which they were seen."""

    items: list[Json]
    resource_version: str

    @property
    def version(self) -> int:
        """The same as a number; 0 where it is none."""
        return int(self.resource_version) if self.resource_version.isdecimal() else 0


class KubeClient:
    """Requests to one API server.

    Args:
        connection: From :func:`~posetask_operator.edge.connect.connect`.
        guard: Asked before every write, again once a connection stands, and for its longest duration.
        observe: Told method, status (0 = no answer) and seconds of every request.
        timeout: Seconds a request may take.
        attempts: How often a request is sent that can be sent again safely.
        pause: First pause between two attempts, in seconds; it doubles, with jitter.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        guard: Guard = lambda: 3600.0,
        observe: Callable[[str, int, float], None] = lambda *_: None,
        timeout: float = 10.0,
        attempts: int = 4,
        pause: float = 0.1,
    ) -> None:
        self._connection, self._guard, self._observe = connection, guard, observe
        self._timeout, self._attempts, self._pause = timeout, attempts, pause
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(self._fence)
        trace.on_connection_create_end.append(self._fence)
        # A copy: the session is made at the first request, and two clients share the connection.
        configuration: Any = copy.copy(connection.configuration)
        configuration.trace_configs = [trace]
        self._rest: Any = RESTClientObject(configuration)  # untyped upstream

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, metadata_only: bool = False
    ) -> Json | None:
        """The object, as it is now; None where there is none.

        Raises:
            PoseTaskError: As :mod:`~posetask_operator.edge.faults` says.
        """
        headers = {"Accept": METADATA_ONLY} if metadata_only else {}
        try:
            return await self._ask("GET", resource.path(namespace, name), headers=headers)
        except NotThere:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        metadata_only: bool = False,
        page: int = 500,
    ) -> Listing:
        """All objects, page by page; begins anew where the server forgot the page's version.

        Raises:
            PoseTaskError: As above.
        """
        headers = {"Accept": METADATA_LIST} if metadata_only else {}
        query: dict[str, str] = {"limit": str(page)} | ({"labelSelector": labels} if labels else {})
        items: list[Json] = []
        for _ in range(10_000):
            try:
                found = await self._ask("GET", resource.path(namespace), query=query, headers=headers)
            except Expired:
                if "continue" not in query:
                    raise
                del query["continue"]
                items.clear()
                continue
            items += found.get("items") or []
            metadata = found.get("metadata") or {}
            if not metadata.get("continue"):
                return Listing(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = str(metadata["continue"])
        raise ApiUnavailable(f"GET {resource.path(namespace)}: no end of pages", hint="trying again")

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Json:
        """Make an object. A lost answer is asked for again, so its name must be fixed.

        Raises:
            AlreadyThere: One of this name exists; perhaps ours, from before.
            PoseTaskError: As above.
        """
        return await self._ask("POST", resource.path(namespace), body=dict(body), again=True)

    async def create_or_adopt(
        self, resource: Resource, namespace: str, body: Mapping[str, Any], owner_uid: str
    ) -> tuple[Json, bool]:
        """The object that we made, now or before, and whether it was now.

        Raises:
            ForeignObject: The name is taken by an object with another owner.
            Conflict: It is there, and being deleted.
            PoseTaskError: As above.
        """
        try:
            return await self.create(resource, namespace, body), True
        except AlreadyThere as error:
            name = str(body["metadata"]["name"])
            found = await self.get(resource, namespace, name)
            if found is None:
                raise Conflict(f"{error.message}, and it is gone again", hint="trying again") from error
            if owner_uid not in owners(found):
                raise ForeignObject(
                    f"{resource.kind} {namespace}/{name} exists and belongs to somebody else",
                    hint=f"kubectl delete {resource.plural} -n {namespace} {name}, or rename the task",
                ) from error
            if found["metadata"].get("deletionTimestamp"):
                raise Conflict(f"{resource.kind} {namespace}/{name} is being deleted") from error
            return found, False

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        resource_version: str | None,
        sub: str | None = None,
    ) -> Json:
        """Merge-patch an object that is still at ``resource_version``.

        Never sent twice: after a lost answer the version tells on the next look whether it was done.

        Raises:
            Conflict: It changed meanwhile.
            PoseTaskError: As above.
        """
        metadata = dict(body.get("metadata") or {})
        if resource_version is not None:
            metadata["resourceVersion"] = resource_version
        sent = {**body, "metadata": metadata} if metadata else dict(body)
        kind = {"Content-Type": "application/merge-patch+json"}
        return await self._ask("PATCH", resource.path(namespace, name, sub), body=sent, headers=kind)

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        sub: str | None = None,
    ) -> Json:
        """Put an object in the place of the one whose version it carries; never sent twice.

        Raises:
            Conflict: It changed meanwhile.
            PoseTaskError: As above.
        """
        return await self._ask("PUT", resource.path(namespace, name, sub), body=dict(body))

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        propagation: str = "Foreground",
    ) -> Json | None:
        """Delete the object with this uid and what it owns; None where it was gone, or is another by now.

        The object comes back as it now is where it has yet to wait for what it owns.

        Raises:
            PoseTaskError: As above.
        """
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        try:
            return await self._ask("DELETE", resource.path(namespace, name), body=body, again=True)
        except NotThere:
            return None
        except Conflict:
            found = await self.get(resource, namespace, name)
            if found is None or found["metadata"].get("uid") != uid:
                return None  # another object of this name: not ours to delete
            raise

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> Json:
        url = self._connection.configuration.host.rstrip("/") + path
        url += f"?{urlencode(query)}" if query else ""
        doing = f"{method} {path}"
        pause = self._pause
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._once(method, url, doing, body, dict(headers or {}))
            except ApiUnavailable as error:
                safe = method == "GET" or again or not error.sent
                if attempt == self._attempts or not safe:
                    raise
                wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
                await asyncio.sleep(max(wait, min(error.retry_after or 0.0, self._timeout)))
                pause *= 2
        raise AssertionError("unreachable")

    async def _once(self, method: str, url: str, doing: str, body: Json | None, headers: Json) -> Json:
        write = method != "GET"
        limit = min(self._timeout, self._guard()) if write else self._timeout
        token = await self._connection.token()
        if token is not None:
            headers["authorization"] = token
        started, status = time.monotonic(), 0
        mark = _writing.set(write)
        try:
            answer = await self._rest.request(
                method,
                url,
                headers=headers,
                body=body,
                _request_timeout=aiohttp.ClientTimeout(total=limit, connect=min(limit, 5.0)),
            )
            status = answer.status
            raw = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            lost = ApiUnavailable(f"{doing}: no connection ({error})", hint="check the API server")
            lost.sent = False
            raise lost from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            status = 0
            said = str(error) or type(error).__name__
            raise ApiUnavailable(f"{doing}: the answer was lost ({said})", hint="trying again") from error
        finally:
            _writing.reset(mark)
            self._observe(method, status, time.monotonic() - started)
        found = _parse(raw)
        if status >= 400:
            raise api_fault(status, found, doing, retry_after=answer.headers.get("Retry-After"))
        return found

    async def _fence(self, *_: object) -> None:
        # Between the first question and now lay the wait for a connection; a lease may end in it.
        if _writing.get():
            self._guard()


def owners(body: Mapping[str, Any]) -> frozenset[str]:
    """Uids of an object's owners.

    >>> sorted(owners({"metadata": {"ownerReferences": [{"uid": "a"}]}}))
    ['a']
    """
    return frozenset(str(o.get("uid")) for o in body["metadata"].get("ownerReferences") or ())


def _parse(raw: bytes) -> Json:
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        return {"message": raw[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)[:200]}
