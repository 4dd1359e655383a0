"""A reader: partitions assigned by hand, bounded prefetch, frames in order, commits behind safe output."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from posetask.errors import (
    FramesExpired,
    InputError,
    KafkaAccessDenied,
    KafkaUnavailable,
    MalformedRecord,
    PoseTaskError,
    TopicLost,
)
from posetask.messages import EndOfStream, Frame
from posetask.messages.envelope import EncodedFrame, Envelope
from posetask.messages.wire import decode, headline
from posetask.transport.bus import Record, Share
from posetask.transport.kafka.extent import raw_headers
from posetask.transport.kafka.faults import AWAY, EXPIRED, fault
from posetask.transport.kafka.patience import patiently
from posetask.transport.kafka.sequencer import Sequencer
from posetask.transport.kafka.stopping import Stop
from posetask.transport.kafka.window import Place
from posetask.transport.kafka.writer import FrameCodec

POLL_SECONDS = 0.05
"""One look for a record; whoever else needs the client waits no longer than this."""

AGAIN_SECONDS = 1800.0
"""So long a frame that left the broker is waited for: the producer decodes everything before it first."""

OnExpired = Literal["fail", "await"]


class KafkaReader:
    """See :class:`posetask.transport.bus.Reader`. One thread gets, another may commit.

    Args:
        consumer: Assigned already.
        topic: Kafka's name.
        total: Partitions of the topic.
        sequencer: Of the assigned partitions.
        places: Where the group stood in them; None where it never committed.
        codec: Of frames.
        stop: Of the bus.
        safe_index: Every frame below it is in the stage's output; commits never pass it.
        away_seconds: The brokers may be away for so long.
        on_expired: ``await``: the producer sends it again (a file); ``fail``: it cannot (live).
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        total: int,
        sequencer: Sequencer[Message],
        places: Mapping[int, Place | None],
        *,
        codec: FrameCodec,
        stop: Stop,
        safe_index: Callable[[], int | None],
        away_seconds: float,
        on_expired: OnExpired,
    ) -> None:
        self._consumer, self._topic = consumer, topic
        self._sequencer, self._codec, self._stop = sequencer, codec, stop
        self._safe_index, self._away_seconds, self._on_expired = safe_index, away_seconds, on_expired
        self._lock = threading.Lock()
        self._client = threading.Lock()
        self._guests = 0  # threads that wait for the client
        self._places = {p: place for p, place in places.items() if place is not None}
        self._wanted = -1  # the index that the stage is done with
        self._seen: dict[int, int] = {}
        self._dirty = False
        self._failure: PoseTaskError | None = None
        self._ends: list[Message] = []
        self._away_since: float | None = None
        self._awaiting_since: float | None = None
        self.share = Share.of_partitions(total, tuple(places))
        """The frames of the assigned partitions."""
        self._begun: set[int] = set()  # partitions whose places were counted as begun at, or moved
        self._first = sequencer.next_index % total
        first = self._places.get(self._first)
        self.starts = 1 + (first.starts if first is not None else 0)
        """Which start at its committed place this is: 2 or more means that the one before died there."""
        self.quarantined = 0
        """Records handed out that an earlier stage gave up."""
        self.nbytes = 0
        """Bytes of records that came."""

    @property
    def next_index(self) -> int:
        """The frame that ``get`` gives next."""
        return self._sequencer.next_index

    @property
    def held(self) -> tuple[int, int]:
        """Records handed out and not committed, and their bytes: says when to close a segment early."""
        with self._lock:
            return self._sequencer.held

    @property
    def lag(self) -> int:
        """Records on the topic that did not come yet, as far as the client knows without asking."""
        out = 0
        with self._guest() as client:
            for p, seen in list(self._seen.items()):
                with suppress(KafkaException):
                    bounds = client.get_watermark_offsets(TopicPartition(self._topic, p), cached=True)
                    out += max(0, bounds[1] - seen)
        return out

    def get(self, timeout: float | None = None) -> Record | None:
        """The next record; None when ``timeout`` seconds passed without one (None waits for ever).

        Raises:
            Cancelled: The run ended while waiting.
            FramesExpired: The next frame left the broker, and nobody will send it again.
            PoseTaskError: The topic is lost, a record is not ours, the brokers deny it or are away for long.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._stop.check()
            if self._failure is not None:
                raise self._failure
            with self._lock:
                taken = self._sequencer.take()
                resume = self._sequencer.drained()
            if resume:
                self._consumer.resume([TopicPartition(self._topic, p) for p in resume])
            if isinstance(taken, int):
                self.settle()
                return self._end()
            if taken is not None:
                return self._open(taken[1])
            left = POLL_SECONDS if deadline is None else deadline - time.monotonic()
            message = self._poll(max(0.0, min(POLL_SECONDS, left)))
            if message is not None:
                self._take_in(message)
            else:
                self._check_away()
                self._check_again()
                if left <= 0:
                    return None

    def commit(self, index: int) -> None:
        """This group needs nothing up to and including frame ``index`` any more.

        What is not yet safe in the stage's own output is committed later, when it is.
        """
        with self._lock:
            self._wanted = max(self._wanted, index)
        if self._sequencer.ended:
            self.settle()

    def settle(self) -> None:
        """Commit now what may be committed, and wait for the broker's word.

        Raises:
            PoseTaskError: The brokers refuse, or are away.
        """
        if self._advance():
            self._send(wait=True)

    def forgive(self) -> None:
        """This process leaves in good order: the next one's start is no second one after a crash.

        Raises:
            PoseTaskError: The brokers refuse, or are away.
        """
        if self._begun:
            with self._lock:
                for p in self._begun:
                    self._places[p] = replace(self._places[p], starts=max(0, self._places[p].starts - 1))
            self._send(wait=True)

    def close(self) -> None:
        """Leave; the thread that gets must have ended."""
        self._consumer.close()

    def _poll(self, seconds: float) -> Message | None:
        while self._guests:  # a lock alone is not fair: this thread would take it again at once
            time.sleep(0.0005)
        with self._client:
            return self._consumer.poll(seconds)

    @contextmanager
    def _guest(self) -> Iterator[Consumer]:
        """The client, for another thread than the one that polls it.

        confluent-kafka lets one thread at a time into a consumer, and whoever polls in a loop never lets
        another one in.
        """
        with self._lock:
            self._guests += 1
        try:
            with self._client:
                yield self._consumer
        finally:
            with self._lock:
                self._guests -= 1

    def _open(self, message: Message) -> Record:
        if not self._begun:
            self._mark_start()
        envelope = _envelope(message)
        self.quarantined += envelope.quarantined
        record = envelope.record
        if not isinstance(record, EncodedFrame):
            return record
        try:
            image = self._codec.decode(record.jpeg)
            image.flags.writeable = False
            return Frame(record.header, image)
        except (InputError, ValueError) as error:
            raise MalformedRecord(
                f"frame {record.header.index} of {self._topic} has no readable picture: {error}",
                hint="something else wrote to this topic, or it was damaged; run the task again",
            ) from error

    def _end(self) -> Record:
        record = _envelope(self._ends[0]).record
        if not isinstance(record, EndOfStream):
            raise MalformedRecord(f"the end of {self._topic} is no end of the stream")
        return record

    def _take_in(self, message: Message) -> None:
        error, p, offset = message.error(), message.partition(), message.offset()
        if error is not None:
            self._on_error(error, p)
            return
        if p is None or offset is None:
            raise MalformedRecord(f"a record of {self._topic} without a place")
        self._away_since = None
        self._seen[p] = offset + 1
        headers, value = raw_headers(message), message.value() or b""
        self.nbytes += len(value)
        index = headline(message.key(), headers)
        with self._lock:
            if index is None:
                end = _envelope(message).record
                if isinstance(end, EndOfStream):
                    self._sequencer.offer_end(p, end.frames)
                    self._ends.append(message)
            else:
                self._sequencer.offer(p, offset, index, len(value), message)
            pause = self._sequencer.overfull()
        if pause:
            self._consumer.pause([TopicPartition(self._topic, each) for each in pause])

    def _on_error(self, error: KafkaError, partition: int | None) -> None:
        name = error.name()
        if name in EXPIRED and partition is not None:
            with self._lock:
                index = self._sequencer.expired(partition)
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), 15.0)
            if high < self._seen.get(partition, 0):
                raise TopicLost(
                    f"{self._topic} holds less than was read from it: it was made anew",
                    hint="submit the task again",
                )
            if self._on_expired == "fail":
                raise FramesExpired(
                    f"frame {index} of {self._topic} left the broker before it was read",
                    hint="give the stage more speed, or the topic a longer retention",
                )
            self._consumer.seek(TopicPartition(self._topic, partition, low))
        elif name in AWAY:
            self.note_away()
        else:
            raise fault(error, f"reading {self._topic}")

    def on_client_error(self, error: KafkaError) -> None:
        """What the client says of itself, from whichever thread asks it; ``get`` raises what ends the run."""
        if error.name() == "_ALL_BROKERS_DOWN":
            self.note_away()
        elif isinstance(found := fault(error, f"reading {self._topic}"), (TopicLost, KafkaAccessDenied)):
            self._failure = self._failure or found

    def note_away(self) -> None:
        """The brokers cannot be reached now."""
        if self._away_since is None:
            self._away_since = time.monotonic()

    def _check_away(self) -> None:
        since = self._away_since
        if since is None or time.monotonic() - since < self._away_seconds:
            return
        try:
            self._consumer.list_topics(self._topic, timeout=5.0)
            self._away_since = None  # it is merely quiet
        except KafkaException as error:
            raise KafkaUnavailable(
                f"no broker answered for {self._away_seconds:.0f} s while reading {self._topic}",
                hint="check that the broker runs and is reachable; the stage can be restarted",
            ) from error

    def _check_again(self) -> None:
        """A frame that is to be sent again must not be waited for without end."""
        index, now = self._sequencer.awaited, time.monotonic()
        if index is None:
            self._awaiting_since = None
        elif self._awaiting_since is None:
            self._awaiting_since = now
        elif now - self._awaiting_since > AGAIN_SECONDS:
            raise FramesExpired(
                f"frame {index} of {self._topic} left the broker, and was not sent again within"
                f" {AGAIN_SECONDS / 60:.0f} minutes",
                hint="is the producer running? submit the task again",
            )

    def _mark_start(self) -> None:
        """Leave word that a process began at this place, before anything is worked.

        The place is that of the first frame's partition: others may wait for a long time yet.
        """
        with self._lock:
            self._begun.add(self._first)
            place = self._places.get(self._first) or Place(0, self._first)
            self._places[self._first] = replace(place, starts=self.starts)
        self._send(wait=True)

    def _advance(self) -> bool:
        """Move the places to where they may be now; whether there is something to commit."""
        safe = self._safe_index()
        with self._lock:
            index = self._wanted if safe is None else min(self._wanted, safe - 1)
            for p, place in self._sequencer.commit(index).items():
                # A stage that reads from the beginning again is behind its own commits for a while.
                if p not in self._places or place.offset > self._places[p].offset:
                    self._places[p] = place
                    self._begun.add(p)
                    self._dirty = True
            return self._dirty

    def tick(self) -> None:
        """Commit what may be committed by now; the bus calls it, as nobody may be getting.

        A stage that waits for one of its inputs gets nothing from the others, and the writer of those may be
        waiting for this very commit.
        """
        try:
            if self._advance():
                self._send(wait=False)
        except PoseTaskError as error:
            self._failure = self._failure or error

    def _send(self, *, wait: bool) -> None:
        with self._lock:
            self._dirty = False
            offsets = [
                TopicPartition(self._topic, p, place.offset, metadata=place.metadata())
                for p, place in self._places.items()
            ]
        with self._guest() as client:
            if wait:
                patiently(
                    lambda: client.commit(offsets=offsets, asynchronous=False),
                    f"committing to {self._topic}",
                    self._stop,
                    self._away_seconds,
                )
                return
            try:
                client.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                self.on_commit(error.args[0])

    def on_commit(self, error: KafkaError | None) -> None:
        """The broker's word on a commit; what failed is sent again with the next one."""
        if error is not None:
            self._dirty = True
            if error.name() not in AWAY and self._failure is None:
                self._failure = fault(error, f"committing to {self._topic}")


def _envelope(message: Message) -> Envelope:
    return decode(message.key(), message.value(), raw_headers(message))


def assign(consumer: Consumer, topic: str, offsets: Mapping[int, int]) -> None:
    """Assign partitions by hand, at these offsets.

    Raises:
        PoseTaskError: The client refuses.
    """
    try:
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in offsets.items()])
    except KafkaException as error:
        raise fault(error.args[0], f"reading {topic}") from error
