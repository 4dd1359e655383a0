"""The writer of a topic: idempotent, bounded, explicit partitions; what is not delivered is fatal."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, Producer

from posetask.errors import PoseTaskError, RecordTooLarge
from posetask.messages import EndOfStream, Frame, Image
from posetask.messages.envelope import EncodedFrame, WireRecord
from posetask.messages.wire import encode
from posetask.transport.bus import Record
from posetask.transport.kafka.extent import Extent
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.names import partition_of
from posetask.transport.kafka.stopping import SLICE_SECONDS, Stop

OVERHEAD_BYTES = 4_096
"""What Kafka's framing and our headers add to a record, at most."""


_PAUSE_SECONDS = 0.02


class FrameCodec(Protocol):
    """Pixels to JPEG and back; :class:`posetask.media.jpeg.WireCodec` is one."""

    def encode(self, image: Image, *, max_bytes: int) -> bytes:
        """At most ``max_bytes``, at lower quality where it must be."""
        ...

    def decode(self, data: bytes) -> Image:
        """``(h, w, 3)`` uint8 BGR."""
        ...


class Gate(Protocol):
    """Flow control: waits until a record of so many bytes may go."""

    def enter(self, index: int, nbytes: int, tick: Callable[[], None]) -> None:
        """Calls ``tick`` again and again while it waits; what that raises ends the wait."""
        ...

    def landed(self, partition: int, offset: int, *, frame: bool) -> None:
        """A record of the topic is safely there: a frame's, or the end."""
        ...

    def has_room(self) -> bool:
        """Whether a record like the last one may go now; never waits."""
        ...

    def all_read(self, frames: int) -> bool:
        """Whether every reader has committed so many frames; never waits."""
        ...


class KafkaWriter:
    """See :class:`posetask.transport.bus.Writer`.

    Args:
        producer: Its own.
        topic: Kafka's name.
        run: Id of the run.
        total: Partitions of the topic.
        start: Of each partition that this writer serves, the first frame it owes.
        ended: Partitions that have their end already.
        codec: Of frames.
        gate: Flow control, None for a topic without.
        stop: Of the bus.
        message_bytes: Largest record.
        on_flush: Called when everything is acknowledged.
        reach: See :class:`posetask.transport.bus.Writer`.
        frames: Likewise.
    """

    def __init__(
        self,
        producer: Producer,
        topic: str,
        run: str,
        total: int,
        start: Mapping[int, int],
        ended: Sequence[int],
        *,
        codec: FrameCodec,
        gate: Gate | None,
        stop: Stop,
        message_bytes: int,
        on_flush: Callable[[], None],
        reach: int = 0,
        frames: int | None = None,
    ) -> None:
        self._producer, self._topic, self._run, self._total = producer, topic, run, total
        self._next, self._ended = dict(start), set(ended)
        self._codec, self._gate, self._stop = codec, gate, stop
        self._limit = message_bytes - OVERHEAD_BYTES
        self._on_flush = on_flush
        self._reach, self._frames = reach, frames
        self._lock = threading.Lock()
        self._failure: PoseTaskError | None = None
        self._unacknowledged: deque[int] = deque()  # indices in the order of put
        self._delivered: set[int] = set()
        self.nbytes = 0
        """Bytes of records that were put."""

    @property
    def next_index(self) -> int:
        """The first frame that is not on the topic yet; where a writer that restarts goes on."""
        return min(self._next.values())

    @property
    def reach(self) -> int:
        """Frames that were on the topic at some time."""
        return max(self._reach, self.next_index)

    @property
    def frames(self) -> int | None:
        """Length of the stream, where its end was put."""
        return self._frames

    def inherit(self, reach: int, frames: int | None) -> None:
        """What an earlier writer of this process knew, and the topic may have lost."""
        self._reach = max(self._reach, reach)
        self._frames = frames if self._frames is None else self._frames

    @property
    def acknowledged(self) -> int:
        """Every frame of this writer below this index is safely on the topic."""
        with self._lock:
            return self._unacknowledged[0] if self._unacknowledged else self.next_index

    def put(self, record: Record, *, quarantined: bool = False, traceparent: str = "") -> None:
        """Append a record; one that is on the topic already is passed over.

        Raises:
            Cancelled: The run ended while waiting.
            EmitAgain: A reader needs what left the broker.
            RecordTooLarge: It does not fit.
            PoseTaskError: An earlier record was not delivered.
        """
        self._check()
        if isinstance(record, EndOfStream):
            wire = encode(record, run=self._run, traceparent=traceparent)
            for partition in sorted(set(self._next) - self._ended):
                self._send(partition, wire, None)
                self._ended.add(partition)
            self._frames = record.frames
            return
        index = record.header.index
        partition = partition_of(index, self._total)
        if partition not in self._next or index < self._next[partition]:
            return
        if isinstance(record, Frame):
            record = EncodedFrame(record.header, self._codec.encode(record.image, max_bytes=self._limit))
        wire = encode(record, run=self._run, quarantined=quarantined, traceparent=traceparent)
        if len(wire.value) > self._limit:
            raise RecordTooLarge(
                f"frame {index} makes a record of {len(wire.value)} bytes for {self._topic}, and"
                f" {self._limit} is the most",
                hint="raise POSETASK_KAFKA_MESSAGE_BYTES and the topic's max.message.bytes",
            )
        if self._gate is not None:
            self._gate.enter(index, len(wire.value), self._tick)
        with self._lock:
            self._unacknowledged.append(index)
        self._next[partition] = index + self._total
        self.nbytes += len(wire.value)
        self._send(partition, wire, index)

    def is_full(self) -> bool:
        """Whether a frame would have to wait now: a live source drops it then, before it is encoded."""
        if self._gate is None:
            return False
        self._tick()
        return not self._gate.has_room()

    def attended(self, timeout: float) -> bool:
        """Whether all readers of the window have committed the whole stream, waited for so long.

        Raises:
            Cancelled: The run ended while waiting.
            EmitAgain: A reader needs what left the broker.
            PoseTaskError: The brokers refuse, or are away for long.
        """
        deadline = time.monotonic() + timeout
        while self._gate is not None and self._frames is not None and not self._gate.all_read(self._frames):
            if time.monotonic() > deadline:
                return False
            self._stop.wait(_PAUSE_SECONDS)
            self._tick()
        return True

    def flush(self) -> None:
        """Return when everything put so far is acknowledged.

        Raises:
            Cancelled: The run ended while waiting.
            PoseTaskError: A record was not delivered.
        """
        while self._producer.flush(SLICE_SECONDS) > 0:
            self._check()
        self._check()
        self._on_flush()

    def poll(self) -> None:
        """Take in acknowledgements; the readers of the same stage call it before they commit."""
        self._producer.poll(0)

    def close(self) -> None:
        """Give up what is not sent: whoever wants it sent flushes."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._producer.flush(SLICE_SECONDS)

    def _send(self, partition: int, wire: WireRecord, index: int | None) -> None:
        headers: list[tuple[str, Any]] = list(wire.headers)
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=wire.value,
                    key=wire.key,
                    partition=partition,
                    headers=headers,
                    timestamp=round(time.time() * 1000),
                    on_delivery=lambda error, message: self._on_delivery(index, error, message),
                )
                break
            except BufferError:  # the queue is full: the broker sets the pace
                self._producer.poll(SLICE_SECONDS)
                self._check()
        self._producer.poll(0)

    def _on_delivery(self, index: int | None, error: KafkaError | None, message: Message) -> None:
        what = "the end" if index is None else f"frame {index}"
        with self._lock:
            if error is not None:
                if self._failure is None:
                    self._failure = fault(error, f"writing {what} to {self._topic}")
                return
            partition, offset = message.partition(), message.offset()
            if self._gate is not None and partition is not None and offset is not None:
                self._gate.landed(partition, offset, frame=index is not None)
            if index is not None:
                self._delivered.add(index)
                while self._unacknowledged and self._unacknowledged[0] in self._delivered:
                    self._delivered.discard(self._unacknowledged.popleft())

    def _tick(self) -> None:
        self._producer.poll(0)
        self._check()

    def _check(self) -> None:
        self._stop.check()
        if self._failure is not None:
            raise self._failure


def already_ended(extents: Mapping[int, Extent], start: Mapping[int, int]) -> list[int]:
    """Partitions that have their end already and owe nothing before it."""
    return [p for p, extent in extents.items() if extent.frames is not None and start[p] >= extent.frames]
