"""Once a minute everything is listed, and held against what the watches brought.

Watches fail silently in two ways: a stream that delivers nothing any more, and (kopf, after 410) a new list
without word of what went meanwhile. A list heals both, and a stream that stays silent is told to /healthz.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from posetask_operator.edge.client import KubeClient, Listing
from posetask_operator.edge.store import Kind, Store, version
from posetask_operator.edge.watch import KINDS, Delivered, selector

logger = logging.getLogger(__name__)


class Relist:
    """Lists of all three kinds.

    Args:
        client: To ask.
        store: To mend.
        delivered: What the watches brought.
        installation: Whose Jobs and pods.
        namespaces: To list; none: all.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        delivered: Delivered,
        installation: str,
        namespaces: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._store, self._delivered = client, store, delivered
        self._installation, self._namespaces = installation, tuple(namespaces)
        self._clock = clock
        self._owed: dict[tuple[Kind, str], tuple[int, float]] = {}  # version, and since when
        self.complete = False

    @property
    def lag(self) -> float:
        """Seconds for which the watches have owed us a change that a list showed."""
        now = self._clock()
        since = [at for (kind, uid), (number, at) in self._owed.items() if not self._paid(kind, uid, number)]
        return now - min(since) if since else 0.0

    async def fill(self) -> None:
        """List whole objects into the store: at the start, and when this replica begins to work.

        Raises:
            PoseTaskError: The API server is away, or lacks the kind.
        """
        for kind in KINDS:
            for namespace, listing in await self._lists(kind, metadata_only=False):
                for body in listing.items:
                    self._store.put(kind, body)
                self._drop_ghosts(kind, namespace, listing)
        self.complete = True

    async def check(self) -> None:
        """List names and versions; drop what is gone, fetch what the watches owe.

        Raises:
            PoseTaskError: The API server is away.
        """
        for kind in KINDS:
            for namespace, listing in await self._lists(kind, metadata_only=True):
                self._drop_ghosts(kind, namespace, listing)
                known = self._store.versions(kind)
                for body in listing.items:
                    meta = body["metadata"]
                    uid, number = meta["uid"], version(body)
                    if not self._paid(kind, uid, number):
                        self._owed.setdefault((kind, uid), (number, self._clock()))
                    if known.get(uid, 0) < number:
                        await self._fetch(kind, meta["namespace"], meta["name"])
        self._owed = {key: owed for key, owed in self._owed.items() if not self._paid(*key, owed[0])}

    async def _fetch(self, kind: Kind, namespace: str, name: str) -> None:
        found = await self._client.get(KINDS[kind], namespace, name)
        if found is not None:
            self._store.put(kind, found)

    async def _lists(self, kind: Kind, *, metadata_only: bool) -> list[tuple[str | None, Listing]]:
        labels = selector(kind, self._installation)
        found: list[tuple[str | None, Listing]] = []
        for namespace in self._namespaces or (None,):
            listing = await self._client.list(
                KINDS[kind], namespace, labels=labels, metadata_only=metadata_only
            )
            found.append((namespace, listing))
        return found

    def _drop_ghosts(self, kind: Kind, namespace: str | None, listing: Listing) -> None:
        there = {body["metadata"]["uid"] for body in listing.items}
        at = listing.version
        for uid, (number, where) in self._store.places(kind).items():
            # What changed after the list was made is rightly not in it.
            if uid not in there and number <= at and namespace in (None, where):
                logger.warning("a %s went without word of it; dropped", kind)
                self._store.drop(kind, uid, at)
                self._delivered.forget(kind, uid)
                self._owed.pop((kind, uid), None)

    def _paid(self, kind: Kind, uid: str, number: int) -> bool:
        return self._delivered.version(kind, uid) >= number
