"""The bus over Kafka, for one stage of one run: a process has one of these for each run that it serves."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from posetask.errors import FramesExpired, TopicLost
from posetask.media.jpeg import WireCodec
from posetask.transport.bus import Cancelled
from posetask.transport.kafka.clientlog import CLIENT_LOG
from posetask.transport.kafka.extent import read_bounds, read_extents, resume_index
from posetask.transport.kafka.gate import Reclaimer, WindowGate
from posetask.transport.kafka.groups import GroupWatch
from posetask.transport.kafka.names import Replica, group_name, topic_name
from posetask.transport.kafka.patience import ask_committed, patiently
from posetask.transport.kafka.reader import KafkaReader, assign
from posetask.transport.kafka.sequencer import Ahead, Sequencer
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.topics import TopicAdmin, open_client
from posetask.transport.kafka.window import Ledger, Place, Trail, slowest_index
from posetask.transport.kafka.writer import FrameCodec, KafkaWriter, already_ended
from posetask.transport.memory import Window

COMMIT_SECONDS = 0.05
"""Between two commits: a writer at its window waits for them."""


class KafkaBus:
    """See :class:`posetask.transport.bus.Bus`. The topics must exist (:class:`TopicAdmin` makes them).

    Commits follow the output: a reader's ``commit`` takes effect when everything that the writer of the same
    bus owes up to that frame is acknowledged. So a bus belongs to one stage, which has at most one writer.

    Args:
        settings: Of the connection.
        run: Id of the run; the ``_<run>`` of topics and groups.
        windows: Topics under flow control, and the stages whose commits hold their writer back.
        window: Of those topics.
        replica: Which of the stage's processes this is.
        codec: Of frames.
        again: The source can be decoded again (a file): the writer of a topic under flow control goes back
            to what a reader still needs and has lost to retention, and its readers wait for it. False for a
            live source.
        replay: Topics to read from frame 0 (a stage with state), whatever was committed.
        reclaim: Delete what all readers of a windowed topic have committed.
        ahead: Bounds what a reader holds of partitions that run ahead.

    Raises:
        KafkaUnavailable: No broker answers within ``connect_timeout_ms``.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        run: str,
        *,
        windows: Mapping[str, Sequence[str]] | None = None,
        window: Window | None = None,
        replica: Replica | None = None,
        codec: FrameCodec | None = None,
        again: bool = True,
        replay: Collection[str] = (),
        reclaim: bool = True,
        ahead: Ahead | None = None,
    ) -> None:
        self._settings, self._run = settings, run
        self._windows, self._window = dict(windows or {}), window or Window(records=64, nbytes=64 * 2**20)
        self._replica, self._codec = replica or Replica(), codec or WireCodec()
        self._again, self._replay, self._reclaim, self._ahead = again, frozenset(replay), reclaim, ahead
        self._stop = Stop()
        self._readers: list[KafkaReader] = []
        self._writers: list[KafkaWriter] = []
        self._watches: list[GroupWatch] = []
        self._committer: threading.Thread | None = None
        self._admin = TopicAdmin(settings)
        self._admin.existing()

    def writer(self, topic: str) -> KafkaWriter:
        """The writer of ``topic``; where something lies there already, it goes on after it.

        Raises:
            TopicLost: There is no such topic.
            PoseTaskError: The brokers are away or deny it.
        """
        name = topic_name(topic, self._run)
        total = self._partitions(name)
        mine = self._replica.partitions(total)
        probe = self._consumer(name)
        try:
            extents = read_extents(probe, name, mine, self._stop)
        finally:
            probe.close()
        watch = self._watch(topic, name, total)
        if watch is not None:
            watch.wait(self._stop)
        places = watch.places if watch is not None else []
        start = {p: resume_index(p, total, extents[p], places, again=self._again) for p in mine}
        following = [resume_index(p, total, extents[p], places, again=False) for p in mine]
        read = [place.next_index for group in places for place in group.values() if place is not None]
        gate = None
        if watch is not None:
            gate = WindowGate(
                self._window,
                Ledger(min(start.values()), slowest_index(places, total)),
                watch,
                total,
                {p: Trail(index, total) for p, index in start.items()} if self._again else None,
                Reclaimer(self._admin.client, name) if self._reclaim else None,
                {p: extent.high for p, extent in extents.items()},
                self._stop,
            )
        producer = open_client(
            Producer,
            {**self._settings.producer(), "error_cb": CLIENT_LOG.error, "logger": CLIENT_LOG},
            self._settings,
        )
        writer = KafkaWriter(
            producer,
            name,
            self._run,
            total,
            start,
            already_ended(extents, start),
            codec=self._codec,
            gate=gate,
            stop=self._stop,
            message_bytes=self._settings.message_bytes,
            on_flush=self._settle,
            reach=max(0, max([*following, *read]) - total + 1),
            frames=next((e.frames for e in extents.values() if e.frames is not None), None),
        )
        self._writers.append(writer)
        return writer

    def reader(self, topic: str, group: str) -> KafkaReader:
        """A reader of ``topic`` for ``group``, from its committed place on.

        Raises:
            FramesExpired: What it needs next left the broker, and nobody will send it again.
            TopicLost: There is no such topic, or it is not the one that the group committed to.
            PoseTaskError: The brokers are away or deny it.
        """
        name = topic_name(topic, self._run)
        total = self._partitions(name)
        mine = self._replica.partitions(total)
        readers: list[KafkaReader] = []
        consumer = self._consumer(group_name(group, self._run), readers)
        try:
            timeout = self._settings.connect_timeout_ms / 1000 + 5
            places = patiently(
                lambda: ask_committed(consumer, name, mine, total, timeout),
                f"asking where {group} stands in {name}",
                self._stop,
                timeout,
            )
            bounds = read_bounds(consumer, name, mine, self._stop)
            begin = dict.fromkeys(mine) if topic in self._replay else places
            start = {p: place.next_index if place else 0 for p, place in begin.items()}
            offsets = {p: place.offset if place else 0 for p, place in begin.items()}
            expired = [p for p in mine if offsets[p] < bounds[p][0]]
            again = self._again and group in self._windows.get(topic, ())  # else the writer looks after none
            self._judge(name, places, {p: bounds[p][1] for p in mine})
            if expired and not again:
                raise FramesExpired(
                    f"frame {min(start[p] for p in expired)} of {name} left the broker before it was read",
                    hint="the stage was away for longer than the topic's retention",
                )
            offsets.update({p: bounds[p][0] for p in expired})
            sequencer: Sequencer[Message] = Sequencer(name, total, start, expired, self._ahead)
            assign(consumer, name, offsets)
        except BaseException:
            consumer.close()
            raise
        reader = KafkaReader(
            consumer,
            name,
            total,
            sequencer,
            places,
            codec=self._codec,
            stop=self._stop,
            safe_index=self._safe_index,
            away_seconds=self._settings.delivery_timeout_ms / 1000,
            on_expired="await" if again else "fail",
        )
        readers.append(reader)
        self._readers.append(reader)
        if self._committer is None:
            self._committer = threading.Thread(target=self._tick, name=f"{self._run}-commits", daemon=True)
            self._committer.start()
        return reader

    def cancel(self, cause: BaseException | None = None) -> None:
        """Wake everyone with ``Cancelled``."""
        self._stop.set(cause)

    def close(self) -> None:
        """Free the clients; every thread that uses the bus must have ended. Commits nothing."""
        self._stop.set()
        if self._committer is not None:
            self._committer.join()
        for reader in self._readers:
            reader.close()
        for writer in self._writers:
            writer.close()
        for watch in self._watches:
            watch.close()
        self._readers.clear()
        self._writers.clear()
        self._watches.clear()

    def _partitions(self, name: str) -> int:
        total = self._admin.partitions(name)
        if total == 0:
            raise TopicLost(
                f"there is no topic {name}", hint="the run was cleaned up, or its topics were never made"
            )
        return total

    def _consumer(self, group: str, readers: Sequence[KafkaReader] = ()) -> Consumer:
        """A consumer that tells its reader, once there is one, what its callbacks hear."""

        def on_error(error: KafkaError) -> None:
            CLIENT_LOG.error(error)
            for reader in readers:
                reader.on_client_error(error)

        def on_commit(error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
            first = error or next((place.error for place in places if place.error is not None), None)
            for reader in readers:
                reader.on_commit(first)

        callbacks = {"error_cb": on_error, "on_commit": on_commit, "logger": CLIENT_LOG}
        consumer: Consumer = open_client(
            Consumer, {**self._settings.consumer(group), **callbacks}, self._settings
        )
        return consumer

    def _watch(self, topic: str, name: str, total: int) -> GroupWatch | None:
        """Of the groups that hold this topic's writer back; None where none does."""
        groups = [group_name(stage, self._run) for stage in self._windows.get(topic, ())]
        if not groups:
            return None
        # Nobody polls these, so their log goes nowhere; the producer's says the same.
        quiet = {"log_level": 0, "error_cb": CLIENT_LOG.error}
        consumers = {
            group: open_client(Consumer, {**self._settings.consumer(group), **quiet}, self._settings)
            for group in groups
        }
        watch = GroupWatch(consumers, name, total, away_seconds=self._settings.delivery_timeout_ms / 1000)
        self._watches.append(watch)
        return watch

    def _judge(self, name: str, places: Mapping[int, Place | None], high: Mapping[int, int]) -> None:
        for p, place in places.items():
            if place is not None and place.offset > high[p]:
                raise TopicLost(
                    f"{name} ends at offset {high[p]}, and {place.offset} was committed: it was made anew",
                    hint="submit the task again",
                )

    def _tick(self) -> None:
        with suppress(Cancelled):
            while True:
                self._stop.wait(COMMIT_SECONDS)
                for reader in list(self._readers):
                    reader.tick()

    def _safe_index(self) -> int | None:
        for writer in self._writers:
            writer.poll()
        return min((writer.acknowledged for writer in self._writers), default=None)

    def _settle(self) -> None:
        for reader in self._readers:
            reader.settle()
