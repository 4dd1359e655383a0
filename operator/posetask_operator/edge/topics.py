"""The brokers, for the reconcile: what they hold of a run, and the few changes that a plan may ask for."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from posetask.errors import KafkaUnavailable, PoseTaskError
from posetask.transport.kafka.clientlog import CLIENT_LOG
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.progress import PROGRESS, progress_topic
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, open_client
from posetask_operator.core.observed import KafkaSeen, RunRecord
from posetask_operator.edge.batch import Batcher
from posetask_operator.edge.follow import RUNS, Follower, runs_topic, write_record

T = TypeVar("T")
FRESH_SECONDS = 2.0
"""How long one look at all topics serves all tasks."""

Measured = Callable[[str, float, PoseTaskError | None], None]
"""Told the name of a call, its seconds, and its error."""


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    topics: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by run
    partitions: int = 0
    error: PoseTaskError | None = None


class Brokers:
    """Admin calls, batched over tasks; blocking ones on threads of their own.

    Args:
        settings: Of the connection.
        follower: Of the two compacted topics.
        guard: Asked before every change; raises ``LeaseLost``.
        partition_budget: Most partitions of all topics together.
        replication: Copies of the two shared topics.
        measured: See :data:`Measured`.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        follower: Follower,
        *,
        guard: Callable[[], float] = lambda: 3600.0,
        partition_budget: int | None = 4_000,
        replication: int = -1,
        measured: Measured = lambda *_: None,
    ) -> None:
        self._settings, self._follower, self._guard = settings, follower, guard
        self._replication, self._measured = replication, measured
        self._budget = partition_budget
        self._admin: TopicAdmin | None = None
        self._producer: Producer | None = None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="kafka")
        self._creating = Batcher[TopicSpec](self._create)
        self._deleting = Batcher[str](self._delete)
        self._emptying = Batcher[str](self._delete_groups)
        self._look = _Look(at=float("-inf"))
        self._looking = asyncio.Lock()
        self._away_since: datetime | None = None
        self._problem = ""

    async def close(self) -> None:
        """Let go of the clients."""
        for batcher in (self._creating, self._deleting, self._emptying):
            await batcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def make_shared(self) -> None:
        """Make ``posetask_progress`` and ``posetask_runs`` where they are missing.

        Raises:
            PoseTaskError: The brokers are away, or refuse.
        """
        specs = [progress_topic(), runs_topic()]
        await self._creating.do([TopicSpec(s.name, s.partitions, s.config, self._replication) for s in specs])

    async def seen(self, run: str, *, groups: bool) -> KafkaSeen:
        """What the brokers hold of a run; never fails: it says since when they are away.

        Args:
            run: Id.
            groups: Whether consumer groups are asked for.
        """
        look = await self._looked()
        record = self._follower.record(run)
        # Those that were recorded are taken for there: deleting what is gone does no harm, and to list the
        # groups of all brokers is an admin request more; see ``_answering``.
        found = frozenset(record.groups if record is not None else ()) if groups else None
        away = self._away_since
        if away is None and not self._follower.caught_up:
            away, self._problem = datetime.now(UTC), f"{RUNS} and {PROGRESS} are still being read"
        return KafkaSeen(
            away_since=away,
            problem=self._problem if away is not None else "",
            record=record,
            topics=look.topics.get(run, {}),
            groups=found,
            progress_keys=self._follower.keys(run),
            partitions=look.partitions if look.error is None else None,
        )

    async def existing(self) -> Mapping[str, Mapping[str, int]]:
        """All topics that belong to runs: run -> topic -> partitions, seen just now.

        Raises:
            PoseTaskError: The brokers are away.
        """
        self._forget_look()
        look = await self._looked()
        if look.error is not None:
            raise look.error
        return look.topics

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        """Confirmed."""
        await self._changed(self._creating.do(topics))

    async def delete(self, topics: Iterable[str]) -> None:
        """Confirmed gone."""
        await self._changed(self._deleting.do(tuple(topics)))

    async def delete_groups(self, groups: Iterable[str]) -> None:
        """Those that are gone are fine; one that is in use is a retryable error."""
        await self._changed(self._emptying.do(tuple(groups)))

    async def record(self, record: RunRecord) -> None:
        """Acknowledged by all replicas before it returns."""
        offset = await self._thread(
            "record_run", partial(self._write, RUNS, record.run, write_record(record))
        )
        self._follower.put_run(record.run, record, offset)

    async def forget(self, run: str) -> None:
        """The run's record goes."""
        offset = await self._thread("forget_run", partial(self._write, RUNS, run, None))
        self._follower.put_run(run, None, offset)

    async def tombstone(self, run: str, stages: Iterable[str]) -> None:
        """The run's progress goes."""
        for stage in stages:
            call = partial(self._write, PROGRESS, f"{run}/{stage}", None)
            self._follower.put_report(run, stage, None, await self._thread("tombstone", call))

    async def _looked(self) -> _Look:
        if self._look.error is not None and self._looking.locked():
            return self._look  # brokers that are away shall not hold up every task for a time-out
        async with self._looking:
            if time.monotonic() - self._look.at > FRESH_SECONDS:
                try:
                    found = await self._thread("list_topics", lambda: self._open().existing(timeout=5.0))
                except PoseTaskError as error:
                    self._look = _Look(time.monotonic(), error=error)
                else:
                    self._look = _Look(time.monotonic(), by_run(found), sum(found.values()))
            return self._look

    def _forget_look(self) -> None:
        self._look = _Look(at=float("-inf"), topics=self._look.topics, partitions=self._look.partitions)

    async def _changed(self, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._forget_look()

    async def _thread(self, name: str, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(self._measure, name, call)
        )

    def _measure(self, name: str, call: Callable[[], T]) -> T:
        started, failure = time.monotonic(), None
        try:
            found = call()
        except PoseTaskError as error:
            failure = error
            if isinstance(error, KafkaUnavailable):
                self._away_since = self._away_since or datetime.now(UTC)
                self._problem = error.message
            raise
        else:
            self._away_since = None
            return found
        finally:
            self._measured(name, time.monotonic() - started, failure)

    def _open(self) -> TopicAdmin:
        if self._admin is None:
            self._admin = TopicAdmin(self._settings, partition_budget=self._budget)
        return self._admin

    def _create(self, topics: Sequence[TopicSpec]) -> None:
        self._guard()
        self._measure("create_topics", lambda: self._open().create(topics))

    def _delete(self, topics: Sequence[str]) -> None:
        self._guard()
        self._measure("delete_topics", lambda: self._answering().delete(topics))

    def _delete_groups(self, groups: Sequence[str]) -> None:
        self._guard()
        self._measure("delete_groups", lambda: self._answering().delete_groups(groups, patience=1.0))

    def _answering(self) -> TopicAdmin:
        # librdkafka (seen in 2.x) can abort the process when an admin request waits for brokers that are
        # away and they come back: so they are asked for metadata first, which is another way.
        admin = self._open()
        admin.existing(timeout=5.0)
        return admin

    def _write(self, topic: str, key: str, value: bytes | None) -> int:
        self._guard()
        if self._producer is None:
            options = {
                **self._settings.producer(),
                "delivery.timeout.ms": 10_000,
                "logger": CLIENT_LOG,
                "error_cb": CLIENT_LOG.error,
            }
            options.pop("message.timeout.ms", None)  # the same key by another name
            self._producer = open_client(Producer, options, self._settings)
        producer = self._producer
        told: list[tuple[KafkaError | None, int]] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            told.append((error, message.offset() or 0))

        doing = f"writing {key} to {topic}"
        try:
            producer.produce(topic, key=key, value=value, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            self._producer = None
            raise KafkaUnavailable(f"{doing}: {error}", hint="trying again") from error
        end = time.monotonic() + 15
        while not told and time.monotonic() < end:
            producer.poll(0.1)
        if not told or told[0][0] is not None:
            self._producer = None  # an idempotent producer that failed for good never writes again
        if not told:
            raise KafkaUnavailable(f"{doing}: not acknowledged within 15 s", hint="trying again")
        if told[0][0] is not None:
            raise fault(told[0][0], doing)
        return told[0][1]


def by_run(topics: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Topics by the run that their name ends with; a run's id has no underscore.

    >>> by_run({"raw_frames_a-1": 2, "yolox_a-1": 2, "other": 1})
    {'a-1': {'raw_frames_a-1': 2, 'yolox_a-1': 2}}
    """
    out: dict[str, dict[str, int]] = {}
    for name, count in topics.items():
        _, underscore, run = name.rpartition("_")
        if underscore and name not in {PROGRESS, RUNS}:
            out.setdefault(run, {})[name] = count
    return out
