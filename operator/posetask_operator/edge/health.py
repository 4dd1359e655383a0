"""/healthz, /readyz and /metrics of one replica."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

WATCH_SECONDS = 90.0
"""A change that a list showed and the watch still owes after this time: the watch is dead. With a list a
minute and a probe every 20 s the process ends within 180 s of a watch that froze."""
WORKER_SECONDS = 60.0
"""A worker beats between any two calls, and at least every 5 s while it waits."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the replica is.

    Attributes:
        watch_lag: Seconds for which a change has been owed.
        worker_silence: Seconds since the worker that is silent longest was heard.
        filled: Whether everything was listed once.
    """

    watch_lag: float = 0.0
    worker_silence: float = 0.0
    filled: bool = False

    @property
    def problems(self) -> list[str]:
        """Why the process should be started anew.

        >>> Health(watch_lag=100.0).problems
        ['the watch has owed a change for 100 s']
        """
        said = []
        if self.watch_lag > WATCH_SECONDS:
            said.append(f"the watch has owed a change for {self.watch_lag:.0f} s")
        if self.worker_silence > WORKER_SECONDS:
            said.append(f"a worker was not heard for {self.worker_silence:.0f} s")
        return said


class HealthServer:
    """Serves until closed.

    Args:
        health: Asked at every probe.
        metrics: Gives Prometheus' text.
    """

    def __init__(self, health: Callable[[], Health], metrics: Callable[[], bytes]) -> None:
        self._health, self._metrics = health, metrics
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one, and ``port`` says which.

        Raises:
            OSError: The address cannot be had.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._render)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        self._runner, self.port = runner, runner.addresses[0][1]

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        problems = self._health().problems
        return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self._health().filled
        text = "ok\n" if ready else "not everything has been listed yet\n"
        return web.Response(status=200 if ready else 503, text=text)

    async def _render(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
