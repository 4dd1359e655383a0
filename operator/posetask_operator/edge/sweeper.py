"""Takes away what vanished tasks left on the brokers.

A task's own clean-up does this while its finalizer holds it. What is left is for here: a finalizer that
somebody removed by hand, or brokers that were gone for good and came back. Only what ``posetask_runs``
records under our own installation is touched, and only after the API server was asked for the task by uid.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from posetask.errors import PoseTaskError
from posetask_operator.core.names import tombstone_name
from posetask_operator.core.observed import RunRecord
from posetask_operator.edge.client import KubeClient
from posetask_operator.edge.faults import LeaseLost
from posetask_operator.edge.follow import Follower
from posetask_operator.edge.resources import CONFIG_MAPS, POSETASKS
from posetask_operator.edge.topics import Brokers

logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps the brokers for one installation.

    Args:
        client: Fenced.
        brokers: To delete.
        follower: Knows the records.
        installation: Ours.
        namespace: The operator's own, where tombstones lie.
        swept: Told how many topics went.
    """

    def __init__(
        self,
        client: KubeClient,
        brokers: Brokers,
        follower: Follower,
        installation: str,
        namespace: str,
        *,
        swept: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._client, self._brokers, self._follower = client, brokers, follower
        self._installation, self._namespace, self._swept = installation, namespace, swept

    async def sweep(self) -> list[str]:
        """Sweep once; returns the runs whose topics are gone now.

        Raises:
            LeaseLost: This replica may not write.
            PoseTaskError: The API server or the brokers are away; what is left is for the next time.
        """
        if not self._follower.caught_up:
            return []
        ours = [r for r in self._follower.records() if r.installation == self._installation]
        # A list fails where the kind itself is missing; a single GET would answer as if the task were gone.
        living: set[str] = set()
        for namespace in sorted({record.namespace for record in ours}):
            listing = await self._client.list(POSETASKS, namespace, metadata_only=True)
            living |= {body["metadata"]["uid"] for body in listing.items}
        gone: list[str] = []
        for record in ours:
            if record.uid in living or not await self._vanished(record):
                continue
            try:
                await self._take_away(record)
            except LeaseLost:
                raise
            except PoseTaskError as error:
                logger.warning("run %s of a vanished task is not swept yet: %s", record.run, error)
                continue
            gone.append(record.run)
        return gone

    async def _vanished(self, record: RunRecord) -> bool:
        found = await self._client.get(POSETASKS, record.namespace, record.name)
        return found is None or found["metadata"]["uid"] != record.uid

    async def _take_away(self, record: RunRecord) -> None:
        logger.info("sweeping run %s: its task %s/%s is gone", record.run, record.namespace, record.name)
        await self._brokers.delete_groups(record.groups)
        await self._brokers.delete(record.topics)
        await self._brokers.tombstone(record.run, record.stages)
        await self._brokers.forget(record.run)
        self._swept(len(record.topics))
        name = tombstone_name(record.run)
        found = await self._client.get(CONFIG_MAPS, self._namespace, name)
        if found is not None:
            await self._client.delete(
                CONFIG_MAPS, self._namespace, name, uid=found["metadata"]["uid"], propagation="Background"
            )
