"""Which replica works: a Lease, renewed in time, with a deadline on this machine's own clock.

A lease alone does not fence: a process that was stopped for a minute wakes up believing that it leads. So
every write asks :meth:`Lease.guard`, which compares the monotonic clock with the last renewal, counted from
before that renewal was sent. No wall clock of any machine is trusted: a replica takes over when it has
itself seen the record unchanged for the whole duration. (The protocol is client-go's leaderelection.)
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from posetask.errors import PoseTaskError
from posetask_operator.edge.client import Json, KubeClient
from posetask_operator.edge.faults import AlreadyThere, Conflict, LeaseLost
from posetask_operator.edge.resources import LEASES

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. The holder gives up ``duration - renew_by`` before anybody else may begin.

    Attributes:
        duration: A record that does not change for so long is free to take.
        renew_by: A holder that could not renew for so long stops writing, and ends.
        retry: Pause between two tries, of holder and waiting replicas alike.
    """

    duration: float = 15.0
    renew_by: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_by < self.duration:
            raise ValueError("a lease needs retry < renew_by < duration")


class Lease:
    """One replica's share in a Lease.

    Args:
        client: Unfenced: acquiring the lease is what makes the fence.
        namespace: Of the operator.
        name: One an installation.
        identity: Of this process; never used twice.
        times: See :class:`LeaseTimes`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._namespace, self._name, self.identity = client, namespace, name, identity
        self.times, self._clock = times or LeaseTimes(), clock
        self._deadline: float | None = None
        self._seen: tuple[str, float] = ("", clock())  # version of the record, and since when

    @property
    def held(self) -> bool:
        """Whether this replica may write now."""
        return self._deadline is not None and self._clock() < self._deadline

    def guard(self) -> float:
        """Seconds for which this replica may still write.

        Raises:
            LeaseLost: It may not.
        """
        left = -1.0 if self._deadline is None else self._deadline - self._clock()
        if left <= 0:
            raise LeaseLost(
                f"{self.identity} does not hold the lease {self._namespace}/{self._name} any more",
                hint="this replica ends, and starts again as the one that waits",
            )
        return left

    async def acquire(self) -> None:
        """Wait until this replica holds the lease."""
        logger.info("waiting for the lease %s/%s", self._namespace, self._name)
        while not await self._try():
            await asyncio.sleep(self.times.retry * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        logger.info("%s holds the lease", self.identity)

    async def keep(self) -> None:
        """Renew until cancelled.

        Raises:
            LeaseLost: It could not be renewed in time, or somebody else has it.
        """
        while True:
            self.guard()
            await asyncio.sleep(self.times.retry)
            await self._try()

    async def release(self) -> None:
        """Give it up, so that the other replica need not wait. Says so if it cannot, and goes on."""
        if not self.held:
            return
        self._deadline = None  # first: nothing is written after this
        try:
            found = await self._client.get(LEASES, self._namespace, self._name)
            if found is not None and found["spec"].get("holderIdentity") == self.identity:
                found["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(LEASES, self._namespace, self._name, found)
        except PoseTaskError as error:
            logger.warning("the lease was not given back, it runs out by itself: %s", error)

    async def _try(self) -> bool:
        before = self._clock()
        try:
            async with asyncio.timeout(self.times.renew_by / 2):
                if not await self._take():
                    self._deadline = None
                    return False
        except (PoseTaskError, TimeoutError) as error:
            logger.warning("lease not renewed: %s", str(error) or "no answer in time")
            return False
        self._deadline = before + self.times.renew_by
        return True

    async def _take(self) -> bool:
        found = await self._client.get(LEASES, self._namespace, self._name)
        if found is None:
            return await self._make()
        version, holder = found["metadata"]["resourceVersion"], found["spec"].get("holderIdentity") or ""
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        duration = max(self.times.duration, float(found["spec"].get("leaseDurationSeconds") or 0))
        if holder and holder != self.identity and self._clock() < self._seen[1] + duration:
            return False
        transitions = int(found["spec"].get("leaseTransitions") or 0) + (holder != self.identity)
        since = found["spec"].get("acquireTime") if holder == self.identity else _now()
        found["spec"] = self._spec(transitions, since)
        try:
            await self._client.replace(LEASES, self._namespace, self._name, found)
        except Conflict:
            return False
        return True

    async def _make(self) -> bool:
        body: Json = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(0, _now()),
        }
        try:
            await self._client.create(LEASES, self._namespace, body)
        except AlreadyThere:
            return False
        return True

    def _spec(self, transitions: int, since: Any) -> Json:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self.times.duration)),
            "acquireTime": since,
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
