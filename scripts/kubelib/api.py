"""A small synchronous client of an API server: plain dicts, no models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from kubelib.errors import KubeFailed
from kubelib.kubeconfig import read

Object = dict[str, Any]
MERGE, JSON = "application/merge-patch+json", "application/json-patch+json"


class Refused(KubeFailed):
    """The API server said no; ``code`` is the HTTP status, ``reason`` its word for it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason = code, reason


class Api:
    """Speaks to the cluster of a kubeconfig. Safe for several threads.

    Args:
        kubeconfig: With client certificates or a token.
        seconds: Time-out of a request.
    """

    def __init__(self, kubeconfig: Path, seconds: float = 30) -> None:
        access = read(kubeconfig)
        self.server = access.server
        self._http = httpx.Client(
            base_url=access.server,
            headers=access.headers,
            verify=access.tls if access.tls is not None else True,
            timeout=seconds,
            trust_env=False,  # a proxy of the environment is not for loopback
            limits=httpx.Limits(max_connections=100),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    @staticmethod
    def path(version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        """Path of a resource.

        >>> Api.path("batch/v1", "jobs", "ns", "a")
        '/apis/batch/v1/namespaces/ns/jobs/a'
        >>> Api.path("v1", "nodes")
        '/api/v1/nodes'
        """
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{middle}/{kind}" + (f"/{name}" if name else "")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        query: Mapping[str, str | int] | None = None,
    ) -> Object:
        """One request; the answer as a dict.

        Raises:
            Refused: The answer is not a success.
        """
        answer = self._http.request(
            method,
            path,
            params=dict(query or {}),
            content=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type, "Accept": "application/json"},
        )
        return _checked(answer)

    def get(self, version: str, kind: str, namespace: str | None, name: str) -> Object:
        """One object."""
        return self.call("GET", self.path(version, kind, namespace, name))

    def find(self, version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """One object, or None where there is none."""
        try:
            return self.get(version, kind, namespace, name)
        except Refused as error:
            if error.code == 404:
                return None
            raise

    def list(self, version: str, kind: str, namespace: str | None = None, **query: str | int) -> list[Object]:
        """All objects, e.g. with ``labelSelector="a=b"``."""
        answer: list[Object] = self.call("GET", self.path(version, kind, namespace), query=query)["items"]
        return answer

    def create(self, kind: str, namespace: str | None, manifest: Object) -> Object:
        """Make the object; ``kind`` is the plural."""
        return self.call("POST", self.path(manifest["apiVersion"], kind, namespace), manifest)

    def patch(
        self,
        version: str,
        kind: str,
        namespace: str | None,
        name: str,
        patch: object,
        content_type: str = MERGE,
        subresource: str = "",
    ) -> Object:
        """Change the object; a merge patch unless another type is named."""
        path = self.path(version, kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.call("PATCH", path, patch, content_type)

    def delete(
        self, version: str, kind: str, namespace: str | None, name: str, policy: str = "Foreground"
    ) -> None:
        """Ask for its end; nothing where there is none."""
        try:
            self.call("DELETE", self.path(version, kind, namespace, name), {"propagationPolicy": policy})
        except Refused as error:
            if error.code != 404:
                raise

    def watch(
        self, version: str, kind: str, namespace: str | None = None, seconds: int = 60, **query: str | int
    ) -> Iterator[tuple[str, Object]]:
        """Events as (type, object), until ``seconds`` have passed."""
        query = {"watch": 1, "timeoutSeconds": seconds, **query}
        path = self.path(version, kind, namespace)
        with self._http.stream("GET", path, params=query, timeout=seconds + 10) as answer:
            if answer.status_code >= 400:
                answer.read()
                _checked(answer)
            for line in answer.iter_lines():
                event = json.loads(line)
                yield event["type"], event["object"]

    def ready(self) -> bool:
        """Whether the server answers /readyz."""
        try:
            return self._http.get("/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def wait(what: str, check: Callable[[], Any], seconds: float = 30, every: float = 0.05) -> Any:
    """The first true value of ``check``.

    Raises:
        KubeFailed: None within ``seconds``; the message tells the last value.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise KubeFailed(f"{what}: not within {seconds:.0f} s, at last {value!r}")
        time.sleep(every)


def condition(thing: Mapping[str, Any], kind: str) -> str | None:
    """Status of a condition: "True", "False", "Unknown", or None where it is not there."""
    for one in thing.get("status", {}).get("conditions") or []:
        if one["type"] == kind:
            return str(one["status"])
    return None


def _checked(answer: httpx.Response) -> Object:
    try:
        said: Object = answer.json()
    except ValueError:
        said = {"message": answer.text[:500]}
    if answer.status_code >= 400:
        raise Refused(answer.status_code, str(said.get("reason", "")), str(said.get("message", "")))
    return said
