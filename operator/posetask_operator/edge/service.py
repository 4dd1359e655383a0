"""One replica of the operator: what runs beside what, and when all of it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from posetask.errors import PoseTaskError
from posetask.transport.kafka.settings import KafkaSettings
from posetask_operator.core.admission import Admission
from posetask_operator.core.observed import ReportSeen
from posetask_operator.edge.apply import Applier
from posetask_operator.edge.capacity import Capacity
from posetask_operator.edge.client import KubeClient
from posetask_operator.edge.connect import Connection, connect
from posetask_operator.edge.events import Events
from posetask_operator.edge.faults import LeaseLost
from posetask_operator.edge.follow import Follower
from posetask_operator.edge.health import Health, HealthServer
from posetask_operator.edge.lease import Lease, LeaseTimes
from posetask_operator.edge.metrics import OperatorMetrics, Sample
from posetask_operator.edge.observe import Observer
from posetask_operator.edge.reconcile import Reconciler
from posetask_operator.edge.relist import Relist
from posetask_operator.edge.store import Key, Kind, Store
from posetask_operator.edge.sweeper import Sweeper
from posetask_operator.edge.topics import Brokers
from posetask_operator.edge.watch import Delivered, Watches
from posetask_operator.edge.workers import Workers
from posetask_operator.edge.workqueue import WorkQueue
from posetask_operator.settings import Settings

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0
_BROKER_SECONDS = 10.0
_COUNT_SECONDS = 30.0
_BURST_SECONDS = 0.1
_END_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Options:
    """How one replica runs.

    Attributes:
        identity: Of this process; never used twice.
        host, port: Of /healthz, /readyz and /metrics.
        kubeconfig: None takes the pod's service account, or ``KUBECONFIG``.
        namespaces: To work in; none: all.
        workers: Tasks that are looked at at the same time.
        lease: See :class:`~posetask_operator.edge.lease.LeaseTimes`.
        relist_seconds: Between two lists of everything.
        sweep_seconds: Between two sweeps.
    """

    identity: str
    host: str = "0.0.0.0"  # noqa: S104 - the probes of the kubelet come from outside
    port: int = 8080
    kubeconfig: str | None = None
    namespaces: tuple[str, ...] = ()
    workers: int = 8
    lease: LeaseTimes = field(default_factory=LeaseTimes)
    relist_seconds: float = 60.0
    sweep_seconds: float = 300.0


class Operator:
    """One replica.

    Args:
        settings: The administrator's.
        kafka: Of the operator's own connection.
        options: Of this process.
        connection: To the API server.
    """

    def __init__(
        self, settings: Settings, kafka: KafkaSettings, options: Options, connection: Connection
    ) -> None:
        self._settings, self._options, self._connection = settings, options, connection
        self.metrics = OperatorMetrics(self._sample)
        # The lease's own client: what makes the fence cannot stand behind it.
        self._open = KubeClient(connection, observe=self.metrics.request)
        self._lease = Lease(
            self._open,
            settings.namespace,
            f"posetask-operator-{settings.installation}",
            options.identity,
            times=options.lease,
        )
        guard = self._lease.guard
        self._client = KubeClient(connection, guard=guard, observe=self.metrics.request)
        self._queue = WorkQueue[Key](on_wait=self.metrics.waited)
        self._store = Store(self._changed)
        self._delivered = Delivered()
        where = (settings.installation, options.namespaces)
        self._relist = Relist(self._open, self._store, self._delivered, *where)
        self._watches = Watches(self._connect_again, self._store, self._delivered, *where)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._follower = Follower(kafka, self._report_came)
        self._brokers = Brokers(
            kafka,
            self._follower,
            guard=guard,
            partition_budget=settings.kafka.partition_budget,
            replication=settings.kafka.replication,
            measured=self.metrics.kafka_call,
        )
        events = Events(self._client, options.identity)
        self._workers = Workers[Key](
            self._queue, self._look, count=options.workers, on_done=self.metrics.look
        )
        applier = Applier(
            self._client,
            self._store,
            self._brokers,
            events,
            settings.namespace,
            counted=self.metrics.action,
            beat=self._workers.beat,
        )
        observer = Observer(self._client, self._store, self._brokers, self._follower)
        self._reconciler = Reconciler(
            settings,
            self._client,
            self._store,
            observer,
            applier,
            Admission(settings),
            self.metrics,
            self._queue.add,
        )
        self._capacity = Capacity(self._client, settings)
        self._sweeper = Sweeper(
            self._client,
            self._brokers,
            self._follower,
            settings.installation,
            settings.namespace,
            swept=self.metrics.swept.inc,
        )
        self.health = HealthServer(self._health, self.metrics.render)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set.

        Raises:
            LeaseLost: Another replica works now; the process should end.
            Exception: A part ended that must not.
        """
        self._loop = asyncio.get_running_loop()
        await self.health.start(self._options.host, self._options.port)
        logger.info("health and metrics at port %d", self.health.port)
        try:
            await _first_of(stop.wait(), self._parts())
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._lease.release()
            await asyncio.to_thread(self._follower.close)
            await self._brokers.close()
            await self._client.close()
            await self._open.close()
            await self.health.close()

    async def _parts(self) -> None:
        await _until_done("listing PoseTasks, Jobs and pods", self._relist.fill)
        relist = _every(self._options.relist_seconds, "listing everything", self._relist.check)
        await _all(self._watches.run(), relist, self._work(), self._shared_topics())

    async def _shared_topics(self) -> None:
        self._follower.start()
        await asyncio.Event().wait()

    async def _work(self) -> None:
        await self._lease.acquire()
        await _all(self._lease.keep(), self._lead())

    async def _lead(self) -> None:
        # What the last leader wrote may not have come through the watches yet.
        await _until_done("listing everything anew", self._relist.fill)
        await self._know_brokers()
        self._reconciler.begin()
        for key in self._store.keys():  # noqa: SIM118 - no dict
            self._queue.add(key)
        await _all(
            self._workers.run(),
            _every(self._options.sweep_seconds, "sweeping the brokers", self._sweep),
            self._count_gpus(),
            self._make_shared(),
        )

    async def _know_brokers(self) -> None:
        """Read the shared topics before the first look, if the brokers answer soon; tasks go on without."""
        try:
            async with asyncio.timeout(_BROKER_SECONDS):
                await _until_done("making the shared topics", self._brokers.make_shared)
                while not self._follower.caught_up:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            logger.warning("the brokers do not answer; tasks that need them wait")

    async def _make_shared(self) -> None:
        await _until_done("making the shared topics", self._brokers.make_shared)
        await asyncio.Event().wait()

    async def _count_gpus(self) -> None:
        while True:
            try:
                self._reconciler.capacity(await self._capacity.count())
            except PoseTaskError as error:
                logger.warning("the GPUs of the nodes cannot be counted: %s", error)
            await asyncio.sleep(_COUNT_SECONDS)

    async def _sweep(self) -> None:
        await self._sweeper.sweep()

    async def _look(self, key: Key) -> float | None:
        return await self._reconciler.look(key)

    async def _connect_again(self) -> Connection:
        return await connect(self._options.kubeconfig, namespace=self._settings.namespace)

    def _changed(self, key: Key, kind: Kind) -> None:
        # Jobs and pods of a task change in bursts, and one look serves them all.
        self._queue.add_after(key, 0.0 if kind == "task" else _BURST_SECONDS)

    def _report_came(self, run: str, before: ReportSeen | None, now: ReportSeen | None) -> None:
        # On the reader's thread. A change of state is looked at now, counts when they may be written again.
        if self._loop is None or now is None:
            return
        news = before is None or before.state != now.state
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._run_changed, run, news)

    def _run_changed(self, run: str, news: bool) -> None:
        key = self._store.key_of(run)
        if key is not None:
            self._queue.add_after(key, 0.0 if news else self._settings.timings.progress_every)

    def _health(self) -> Health:
        silence = self._workers.oldest_beat()
        return Health(self._relist.lag, silence, self._relist.complete)

    def _sample(self) -> Sample:
        return Sample(
            depth=len(self._queue),
            adds=self._queue.adds,
            retries=self._queue.retries,
            active=self._workers.active,
            workers=self._workers.count,
            unfinished=self._workers.unfinished(),
            longest=self._workers.longest(),
            leads=self._lease.held,
            tasks=self._store.states(),
            watch_lag=self._relist.lag,
            gpus=self._reconciler.gpus(),
        )


async def _all(*parts: Coroutine[Any, Any, None]) -> None:
    """Run until one of them ends; its error, if any, is the error of all."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except BaseExceptionGroup as errors:
        raise _cause(errors) from errors


async def _first_of(stop: Coroutine[Any, Any, Any], work: Coroutine[Any, Any, None]) -> None:
    stopping, working = asyncio.ensure_future(stop), asyncio.ensure_future(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        stopping.cancel()
        working.cancel()
        # What does not end now is cancelled once more by asyncio.run; the lease must not wait for it.
        ended, _ = await asyncio.wait({stopping, working}, timeout=_END_SECONDS)
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.debug("ended with %r", error)


def _cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: a lost lease before all others."""
    found = list(_leaves(errors))
    lost = [error for error in found if isinstance(error, LeaseLost)]
    return (lost or found)[0]


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _until_done(doing: str, call: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await call()
            return
        except LeaseLost:
            raise
        except PoseTaskError as error:
            logger.warning("%s: %s", doing, error)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _every(seconds: float, doing: str, call: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await call()
        except LeaseLost:
            raise
        except PoseTaskError as error:
            logger.warning("%s, again in %.0f s: %s", doing, seconds, error)
