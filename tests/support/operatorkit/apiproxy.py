"""A proxy before the API server: it counts every write, and breaks what it is told to break.

It speaks plain HTTP on loopback, so that its kubeconfig holds no secret; to the API server it goes with the
certificates or the token of the kubeconfig that it was given.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp import web

from kubelib import kubeconfig
from operatorkit.loops import Loop
from operatorkit.writes import Fault, Ledger, Write, describe

_REASONS = {
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"}
_POSITION = {"limit", "continue", "timeoutSeconds", "resourceVersion", "resourceVersionMatch"}


class ApiProxy:
    """One proxy. Use it as a context.

    Args:
        upstream: Kubeconfig of the API server.
        folder: Where ``kubeconfig`` of the proxy is written.
        ledger: Told every write; says what happens to it.
    """

    def __init__(self, upstream: Path, folder: Path, ledger: Ledger) -> None:
        self.ledger = ledger
        self.kubeconfig = folder / "proxy.kubeconfig"
        self.requests = 0
        self._access = kubeconfig.read(upstream)
        self._loop = Loop("api-proxy")
        self._flowing: dict[str, asyncio.Event] = {}
        self._reads: dict[str, int] = {}
        self._lists: dict[str, bytes] = {}
        self._stale: set[str] = set()
        self._watching: set[asyncio.Transport] = set()
        self._down = False

    def __enter__(self) -> ApiProxy:
        self.server = self._loop.run(self._start())
        kubeconfig.write(self.kubeconfig, self.server, None, None)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._stop())
        self._loop.close()

    def freeze(self, plural: str) -> None:
        """Watches of this resource bring nothing more, and do not end either."""
        self._loop.run(self._flow(plural, False))

    def thaw(self, plural: str) -> None:
        """They bring what was held back, and what comes."""
        self._loop.run(self._flow(plural, True))

    def stale(self, plural: str, on: bool = True) -> None:
        """Lists of this resource are answered as they were last answered, however old that is."""
        (self._stale.add if on else self._stale.discard)(plural)

    def refuse(self, plural: str, code: int | None) -> None:
        """Reads of this resource, watches too, are answered with this status; None: as they should be."""
        if code is None:
            self._reads.pop(plural, None)
        else:
            self._reads[plural] = code

    def go_away(self, down: bool = True) -> None:
        """Connections are taken and ended without an answer, as if the server were gone."""
        self._down = down
        if down:
            self._loop.run(self._cut())

    async def _cut(self) -> None:
        for transport in self._watching:
            transport.abort()

    async def _flow(self, plural: str, on: bool) -> None:
        event = self._flowing.setdefault(plural, asyncio.Event())
        (event.set if on else event.clear)()

    async def _start(self) -> str:
        tls: object = self._access.tls if self._access.tls is not None else True
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)  # type: ignore[arg-type]
        self._client = aiohttp.ClientSession(
            self._access.server,
            connector=connector,
            headers=self._access.headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            auto_decompress=True,
        )
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port, *_ = self._runner.addresses[0]
        return f"http://{host}:{port}"

    async def _stop(self) -> None:
        for event in self._flowing.values():
            event.set()
        await self._client.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self._down:
            return _hang_up(request)
        body = await request.read()
        if request.method in {"GET", "HEAD", "OPTIONS"}:
            return await self._read(request)
        return await self._write(request, body)

    async def _write(self, request: web.Request, body: bytes) -> web.StreamResponse:
        try:
            parsed = json.loads(body) if body else None
        except ValueError:
            parsed = None
        what, background = describe(request.method, request.path_qs, parsed if _is_map(parsed) else None)
        # The choice may look at files and processes: not on the loop.
        write, fault = await asyncio.to_thread(self.ledger.begin, what, background)
        try:
            return await self._answer(request, body, write, fault or Fault())
        finally:
            self.ledger.end(write)

    async def _answer(
        self, request: web.Request, body: bytes, write: Write, fault: Fault
    ) -> web.StreamResponse:
        if fault.before is not None:
            await asyncio.to_thread(fault.before)
        if fault.answer is not None:
            return _status(fault.answer, f"{write.name}: so said the fault proxy")
        async with self._client.request(
            request.method, request.path_qs, data=body, headers=_forward(request)
        ) as reply:
            said = await reply.read()
            if fault.after is not None:
                await asyncio.to_thread(fault.after)
            if fault.lose:
                return _hang_up(request)
            return web.Response(status=reply.status, headers=_back(reply), body=said)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        plural = _plural(request.path)
        if plural in self._reads:
            return _status(self._reads[plural], "so said the fault proxy")
        if request.query.get("watch") in {"1", "true"}:
            return await self._watch(request, plural)
        key = _key(request.path_qs)
        if plural in self._stale and key in self._lists:
            return web.Response(body=self._lists[key], content_type="application/json")
        async with self._client.request(request.method, request.path_qs, headers=_forward(request)) as reply:
            said = await reply.read()
            if reply.status == 200 and "continue" not in request.query:
                self._lists[key] = said
            return web.Response(status=reply.status, headers=_back(reply), body=said)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        flowing = self._flowing.get(plural)
        if flowing is None:
            flowing = self._flowing[plural] = asyncio.Event()
            flowing.set()
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._watching.add(transport)
        try:
            async with self._client.get(request.path_qs, headers=_forward(request)) as reply:
                answer = web.StreamResponse(status=reply.status, headers=_back(reply))
                await answer.prepare(request)
                async for part in reply.content.iter_any():
                    await flowing.wait()
                    await answer.write(part)
                return answer
        except ConnectionError:  # the client has left, or we have hung up
            return web.Response()
        finally:
            self._watching.discard(transport)


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _status(code: int, message: str) -> web.Response:
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }
    headers = {"Retry-After": "1"} if code == 429 else None
    return web.json_response(said, status=code, headers=headers)


def _plural(path: str) -> str:
    """The resource of a path.

    >>> _plural("/apis/batch/v1/namespaces/a/jobs/b"), _plural("/api/v1/namespaces/a")
    ('jobs', 'namespaces')
    """
    parts = path.strip("/").split("/")
    rest = parts[3 if parts[0] == "apis" else 2 :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return rest[0] if rest else ""


def _key(target: str) -> str:
    """A list, whatever page and version of it was asked for."""
    split = urlsplit(target)
    return (
        split.path + "?" + repr(sorted(pair for pair in parse_qsl(split.query) if pair[0] not in _POSITION))
    )


def _forward(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in _HOP}


def _back(reply: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name.lower() not in _HOP}


def _is_map(value: object) -> bool:
    return isinstance(value, dict)
