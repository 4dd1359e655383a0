"""Watches of PoseTasks, Jobs and pods, by kopf: it brings news, and decides nothing.

kopf runs on a thread and an event loop of its own, because it ends every task of its loop when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import kopf

from posetask_operator.core.names import INSTALLATION_LABEL, RUN_LABEL
from posetask_operator.edge.connect import Connection
from posetask_operator.edge.resources import JOBS, PODS, POSETASKS, Resource
from posetask_operator.edge.store import Json, Kind, Store, version

logger = logging.getLogger(__name__)

KINDS: dict[Kind, Resource] = {"task": POSETASKS, "job": JOBS, "pod": PODS}
_END_SECONDS = 10.0


def selector(kind: Kind, installation: str) -> str | None:
    """Labels by which the operator's own Jobs and pods are found; PoseTasks are all of interest.

    >>> selector("job", "main"), selector("task", "main")
    ('posetask.io/run,posetask.io/installation=main', None)
    """
    return None if kind == "task" else f"{RUN_LABEL},{INSTALLATION_LABEL}={installation}"


class Delivered:
    """What the watches brought, to be held against what a list shows. For one event loop."""

    def __init__(self) -> None:
        self._seen: dict[Kind, dict[str, int]] = {kind: {} for kind in KINDS}
        self.last: float | None = None

    def note(self, kind: Kind, event: str | None, body: Json) -> None:
        """An event came."""
        self.last = time.monotonic()
        uid = body["metadata"]["uid"]
        if event == "DELETED":
            self._seen[kind].pop(uid, None)
        else:
            self._seen[kind][uid] = version(body)

    def version(self, kind: Kind, uid: str) -> int:
        """The newest version of an object that a watch brought; 0 where it brought none."""
        return self._seen[kind].get(uid, 0)

    def forget(self, kind: Kind, uid: str) -> None:
        """The object is gone."""
        self._seen[kind].pop(uid, None)


class Watches:
    """kopf's watch streams into a store.

    Args:
        connection: Makes a connection; called on the watches' own loop.
        store: Told everything, on the loop that calls :meth:`run`.
        delivered: Told too.
        installation: Whose Jobs and pods.
        namespaces: To watch; none: all.
    """

    def __init__(
        self,
        connection: Callable[[], Awaitable[Connection]],
        store: Store,
        delivered: Delivered,
        installation: str,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._connection, self._store, self._delivered = connection, store, delivered
        self._installation, self._namespaces = installation, tuple(namespaces)
        self._stop = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Exception: kopf ended, by itself or with an error: watches never end well.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_exception(error or RuntimeError("the watches ended by themselves"))

        def work() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(self._operator(loop))
            except BaseException as caught:
                error = caught
            try:
                loop.call_soon_threadsafe(tell, error)
            except RuntimeError:
                logger.debug("the watches outlived the loop that they fed")

        thread = threading.Thread(target=work, name="watches", daemon=True)
        thread.start()
        try:
            await ended
        finally:
            self._stop.set()
            ended.cancel()
            await asyncio.to_thread(thread.join, _END_SECONDS)

    async def _operator(self, loop: asyncio.AbstractEventLoop) -> None:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await (await self._connection()).for_kopf()

        kopf.on.login(registry=registry)(login)
        for kind, resource in KINDS.items():
            self._subscribe(registry, loop, kind, resource)
        await kopf.operator(
            registry=registry,
            settings=self._settings(),
            standalone=True,  # which replica works is decided by our own lease
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
            # Its own would ask for the user's name, which a numeric user of an image has not.
            identity=cast(Any, "posetask"),
        )

    def _subscribe(
        self, registry: kopf.OperatorRegistry, loop: asyncio.AbstractEventLoop, kind: Kind, resource: Resource
    ) -> None:
        async def event(**about: Any) -> None:
            news = about["event"]
            body = news["object"]
            loop.call_soon_threadsafe(self._take, kind, news["type"], body)

        kopf.on.event(resource.group, resource.version, resource.plural, id=kind, registry=registry)(event)

    def _take(self, kind: Kind, event: str | None, body: Json) -> None:
        self._delivered.note(kind, event, body)
        if event == "DELETED":
            self._store.drop(kind, body["metadata"]["uid"], version(body))
        else:
            self._store.put(kind, body)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # the kinds are there before we start; see main.py
        settings.process.ultimate_exiting_timeout = None  # it would end the whole process
        settings.networking.request_timeout = 30.0
        settings.networking.connect_timeout = 5.0
        settings.watching.server_timeout = 240
        settings.watching.chunk_size = 500
        for kind, resource in KINDS.items():
            labels = selector(kind, self._installation)
            if labels is not None:
                settings.watching.label_selectors[resource.group, resource.version, resource.plural] = labels
        return settings
