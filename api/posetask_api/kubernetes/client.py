"""PoseTasks of one namespace, over the API server's REST interface: create, get, list."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from posetask.errors import (
    InvalidParameters,
    NotAvailable,
    PoseTaskError,
    StageFailed,
    Unavailable,
    UnknownTask,
)

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TRIES = 4
_PAUSE_SECONDS = 0.25
_PAGE = 500


@dataclass(frozen=True)
class Access:
    """How to reach the API server.

    Attributes:
        server: URL.
        tls: Of the connection; None for plain HTTP.
        token: Asked for every request, because it changes in a pod that lives long; None without one.
    """

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], str | None]

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str] | None = None, account: Path = _ACCOUNT) -> Access:
        """As the pod's service account.

        Raises:
            NotAvailable: This is no pod with a service account.
        """
        env = os.environ if environment is None else environment
        host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
        try:
            if host is None:
                raise OSError("KUBERNETES_SERVICE_HOST is not set")
            tls = ssl.create_default_context(cafile=account / "ca.crt")
            (account / "token").read_text()
        except OSError as error:
            raise NotAvailable(
                f"this is no pod with a service account ({error})",
                hint="posetask serve runs without a cluster",
            ) from None
        named = f"[{host}]" if ":" in host else host
        return cls(f"https://{named}:{port}", tls, lambda: (account / "token").read_text().strip())


class PoseTasks:
    """PoseTasks of a namespace, as plain dicts.

    Args:
        access: How to reach the API server.
        namespace: Of all of them.
    """

    def __init__(self, access: Access, namespace: str) -> None:
        self._access = access
        self._path = f"/apis/posetask.io/v1alpha1/namespaces/{namespace}/posetasks"
        self._http = httpx.AsyncClient(
            base_url=access.server,
            verify=access.tls if access.tls is not None else True,
            timeout=10.0,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make one. Safe to try again: its name is the caller's, and used once.

        Raises:
            InvalidParameters: The API server, or a policy of the cluster, refuses it.
            Unavailable: The API server is away.
        """
        answer = await self._ask("POST", self._path, body)
        if answer.status_code == 409:
            return await self.get(body["metadata"]["name"])
        return _read(answer)

    async def get(self, name: str) -> dict[str, Any]:
        """One of them.

        Raises:
            UnknownTask: There is none of this name.
            Unavailable: The API server is away.
        """
        answer = await self._ask("GET", f"{self._path}/{name}")
        if answer.status_code == 404:
            raise UnknownTask(f"there is no task {name!r}", hint="POST /upload made an id; check it")
        return _read(answer)

    async def all(self) -> list[dict[str, Any]]:
        """All of them.

        Raises:
            Unavailable: The API server is away.
        """
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"limit": str(_PAGE)} | ({"continue": token} if token else {})
            page = _read(await self._ask("GET", self._path, query=query))
            found += page.get("items", [])
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return found

    async def _ask(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> httpx.Response:
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            token = self._access.token()
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            try:
                answer = await self._http.request(method, path, json=body, params=query, headers=headers)
            except httpx.TransportError as error:
                if last:
                    raise Unavailable(
                        f"the API server does not answer ({type(error).__name__})", hint="try again later"
                    ) from error
            else:
                if last or answer.status_code not in (429, 500, 502, 503, 504):
                    return answer
            await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AssertionError  # pragma: no cover - the last try answers or raises


def _read(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = {}
    if answer.is_success and isinstance(found, dict):
        return found
    said = str(found.get("message") or f"HTTP {answer.status_code}") if isinstance(found, dict) else ""
    raise _refused(answer.status_code, said)


def _refused(status: int, said: str) -> PoseTaskError:
    if status in (400, 422):
        return InvalidParameters(f"the cluster refuses the task: {said}", hint="check POSETASK_API_SPEC")
    if status in (401, 403):
        return NotAvailable(
            f"the cluster refuses this server: {said}", hint="check its role in the namespace"
        )
    if status in (429, 500, 502, 503, 504):
        return Unavailable(f"the API server says: {said}", hint="try again later")
    return StageFailed(f"the API server says: {said}", hint="is the PoseTask definition installed?")
