"""The one runner: drives any stage between its readers and its writer, in one process for one task.

Reading, processing and emitting overlap: the caller's thread joins inputs and forms batches, workers
run ``process``, and an emitting thread hands results on in frame order and commits after they are
acknowledged. Everything in between is bounded.

A process that takes over from one that died begins where the output, or the stage's own store, ends
(DESIGN §4): inputs that a stage ``replays`` are read from frame 0 again, what is on the output already
is not emitted twice, and where the one before died on the same frame the first frames go one by one, so
that the frame that kills is found and, on a third start, given up.

A replica works its share of the frames (:class:`posetask.transport.bus.Share`): the same rules, from one
frame of the share to the next.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from posetask.errors import PoseTaskError, StageFailed
from posetask.messages import EndOfStream, Message
from posetask.runtime.join import Bundle, JoinedReader, share_of
from posetask.stages.base import Batching, Source, Stage
from posetask.transport import Bus, Cancelled, Reader, Writer
from posetask.transport.bus import Share


@dataclass(slots=True)
class StageProgress:
    """How far one stage is. Written by its runner, read by anyone.

    Attributes:
        stage: Its name.
        frames: Done so far, those of earlier processes included; of a replica those of its share.
        quarantined: Frames that this process gave up.
        ready: The stage is open and reads.
        done: The end of the stream is through.
    """

    stage: str
    frames: int = 0
    quarantined: int = 0
    ready: bool = False
    done: bool = False


CAREFUL_FRAMES = 64
"""So many frames go one by one where the process before died: more than can be under way uncommitted."""
_LOOK_SECONDS = 0.25
"""Between two looks at whether to stop."""


@dataclass(frozen=True, slots=True)
class _Batch:
    last_index: int
    results: Future[Sequence[Message]]


_Pending = queue.Queue[_Batch | EndOfStream | None]
"""Batches under way in frame order, then the end of the stream; None closes it in every case."""


class StageRunner:
    """Runs one stage to its end.

    Args:
        stage: Not yet opened.
        readers: One for each of the stage's inputs, in their order.
        writer: Of its output; None for a stage at the end.
        on_failure: Called at once when the stage fails, from whichever thread saw it; wakes those who wait.
        on_batch: Told the size of every batch.
    """

    def __init__(
        self,
        stage: Stage[Any],
        readers: Sequence[Reader],
        writer: Writer | None,
        on_failure: Callable[[BaseException], None] = lambda error: None,
        on_batch: Callable[[int], None] = lambda frames: None,
    ) -> None:
        self.stage = stage
        self.progress = StageProgress(stage.name)
        self._readers = readers
        self._writer = writer
        self._on_failure, self._on_batch = on_failure, on_batch
        self._share = share_of(readers) if readers else Share()
        self._emitted = self._share.first()  # the frame that is due to be emitted next
        self._owed = 0  # the first frame that the output lacks
        self._stopping, self._finishing = threading.Event(), threading.Event()
        self._failure: BaseException | None = None

    @classmethod
    def on(cls, bus: Bus, stage: Stage[Any]) -> StageRunner:
        """A runner for ``stage`` on the topics it declares; a failure cancels the whole bus."""
        readers = [bus.reader(topic, stage.name) for topic in stage.inputs]
        writer = bus.writer(stage.output) if stage.output else None
        return cls(stage, readers, writer, on_failure=bus.cancel)

    def stop(self) -> None:
        """Leave soon: what is under way is finished and committed, and another process can take over."""
        self._stopping.set()

    def finish_early(self) -> None:
        """End the stream soon, where this is a source: never before what an earlier process sent already."""
        self._finishing.set()

    def run(self) -> int:
        """Open, run to the end of the stream, close.

        Returns:
            Frames worked; ``progress.done`` says whether that is all of them.

        Raises:
            StageFailed: The stage raised, or broke its contract.
            PoseTaskError: What the stage itself raised from the tree.
            Cancelled: The run ended elsewhere.
        """
        try:
            try:
                self.stage.open()
                self.progress.ready = True
                self._work()
            finally:
                self.stage.close()
        except PoseTaskError as error:
            self._on_failure(error)
            raise
        except Exception as error:
            failure = StageFailed(
                f"stage {self.stage.name} failed at frame {self._emitted}: {type(error).__name__}: {error}",
                hint="this is a defect of the stage; report it with the command and, if you can, the source",
            )
            failure.__cause__ = error
            self._on_failure(failure)
            raise failure from error
        return self._share.count(self._emitted)

    def _work(self) -> None:
        self._owed = self._writer.next_index if self._writer is not None else 0
        if isinstance(self.stage, Source):
            self._produce(self.stage)
            return
        start = self._start()
        self._advance(start)
        if self._recall(start):
            joined = JoinedReader(self._readers, start)
            if self._go_carefully(joined, start):
                self._consume(joined)

    def _produce(self, source: Source[Any]) -> None:
        """The stream, no longer and no shorter than what readers may know of it already."""
        reach, frames = (self._writer.reach, self._writer.frames) if self._writer is not None else (0, None)
        self._advance(source.begin)
        messages = source.produce()
        while frames is None or self._emitted < frames:
            message = next(messages, None)
            if message is None:
                break
            if self._stopping.is_set():
                return
            self._emit([message])
            if self._finishing.is_set() and self._emitted >= reach:
                source.stop()
        self._end(EndOfStream(self._emitted, source.report))

    def _start(self) -> int:
        """The first frame to work on."""
        stage = self.stage
        if set(stage.inputs) <= set(stage.replays):
            return self._share.first()
        if stage.kept_index is not None:
            return stage.kept_index
        return self._owed if self._writer is not None else max(r.next_index for r in self._resumed())

    def _resumed(self) -> list[Reader]:
        """Readers that go on where they committed."""
        inputs = zip(self.stage.inputs, self._readers, strict=True)
        return [reader for topic, reader in inputs if topic not in self.stage.replays]

    def _recall(self, start: int) -> bool:
        """Show the stage what it saw before ``start``; False where it must stop."""
        replayed = [reader for reader in self._readers if reader not in self._resumed()]
        if not replayed or len(replayed) == len(self._readers):
            return True
        earlier, done = JoinedReader(replayed), 0
        while done < start and not self._stopping.is_set():
            item = earlier.get(_LOOK_SECONDS)
            if isinstance(item, EndOfStream):
                raise StageFailed(
                    f"an input ends at frame {item.frames}, and {start} frames are stored already"
                )
            if item is not None:
                self.stage.recall(item)
                done += 1
        return not self._stopping.is_set()

    def _go_carefully(self, joined: JoinedReader, start: int) -> bool:
        """Where the process before died: frame by frame, each committed; False where nothing is left to do.

        Only for stages without state that have an output: others say nothing of their own of a frame.
        """
        resumed = self._resumed()
        if self.stage.replays or self._writer is None:
            return True
        starts = min((reader.starts for reader in resumed), default=1)
        stuck = all(reader.next_index == start for reader in resumed)
        for turn in range(CAREFUL_FRAMES if starts >= 2 else 0):
            item = None
            while item is None:
                if self._stopping.is_set():
                    return False
                item = joined.get(_LOOK_SECONDS)
            if isinstance(item, EndOfStream):
                self._finish(item, joined)
                return False
            if turn == 0 and not stuck:
                # The dead committed less than it emitted. Its deaths are counted where it committed: without
                # this word they would never be counted at the frame that kills, and it would kill for ever.
                joined.commit(start - 1)
                self._writer.flush()
            given_up = self.stage.empty(item) if turn == 0 and starts >= 3 and stuck else None
            if given_up is not None:
                self.progress.quarantined += 1
                self._emit([given_up], quarantined=True)
            else:
                self._emit(self._process([item]))
            joined.commit(item[0].header.index)
            self._writer.flush()
        return True

    def _consume(self, joined: JoinedReader) -> None:
        batching = self.stage.batching
        if batching.workers > 1 and not self.stage.concurrent:
            raise TypeError(f"it is not concurrent, yet asks for {batching.workers} workers")
        # One batch waits per worker: enough to keep each busy, few enough to bound what is held.
        pending: _Pending = queue.Queue(maxsize=2 * batching.workers)
        emitter = threading.Thread(
            target=self._emit_all, args=(pending, joined), name=f"{self.stage.name}-emit"
        )
        with ThreadPoolExecutor(batching.workers, thread_name_prefix=self.stage.name) as workers:
            emitter.start()
            try:
                self._read_all(joined, batching, workers, pending)
            except Cancelled:
                if self._failure is None:
                    raise
            finally:
                pending.put(None)
                emitter.join()
        if self._failure is not None:
            raise self._failure
        if self._stopping.is_set() and self._writer is not None:
            self._writer.flush()

    def _read_all(
        self, joined: JoinedReader, batching: Batching, workers: ThreadPoolExecutor, pending: _Pending
    ) -> None:
        while self._failure is None and not self._stopping.is_set():
            batch, end = collect(joined, batching, _LOOK_SECONDS)
            if batch:
                future = workers.submit(self._process, batch)
                pending.put(_Batch(batch[-1][0].header.index, future))
            if end is not None:
                pending.put(end)
                return

    def _process(self, batch: Sequence[Bundle]) -> Sequence[Message]:
        self._on_batch(len(batch))
        start = time.perf_counter()
        results = self.stage.process(batch)
        self.stage.context.timings.add(f"{self.stage.name}.total", time.perf_counter() - start)
        if self.stage.concurrent and len(results) != len(batch):
            raise StageFailed(
                f"stage {self.stage.name} answered {len(batch)} frames with {len(results)} messages",
                hint="a concurrent stage owes one message for every frame of the batch",
            )
        return results

    def _emit_all(self, pending: _Pending, joined: JoinedReader) -> None:
        try:
            while (item := pending.get()) is not None:
                if isinstance(item, EndOfStream):
                    self._finish(item, joined)
                else:
                    self._emit(item.results.result())
                    if self._writer is None:
                        self._advance(item.last_index + 1)
                    kept = self.stage.kept_index
                    joined.commit(item.last_index if kept is None else min(item.last_index, kept - 1))
        except BaseException as error:
            self._failure = error
            self._on_failure(error)
            while pending.get() is not None:  # so that the reading side can put its last and go
                pass

    def _emit(self, messages: Iterable[Message], *, quarantined: bool = False) -> None:
        if self._writer is None:
            return
        for message in messages:
            if message.header.index != self._emitted:
                got, due = message.header.index, self._emitted
                raise StageFailed(f"stage {self.stage.name} emitted frame {got} where {due} was due")
            if self._emitted >= self._owed:
                self._writer.put(message, quarantined=quarantined)
            self._advance(self._emitted + 1)

    def _advance(self, index: int) -> None:
        """Every frame of the share below ``index`` is done."""
        self._emitted = self._share.first(index)
        self.progress.frames = self._share.count(self._emitted)

    def _finish(self, end: EndOfStream, joined: JoinedReader) -> None:
        self._emit(self.stage.finish(end))
        joined.commit(end.frames - 1)
        self._end(end)

    def _end(self, end: EndOfStream) -> None:
        if self._emitted != self._share.first(end.frames):
            done, due = self.progress.frames, self._share.count(end.frames)
            raise StageFailed(f"stage {self.stage.name} worked {done} of {due} frames")
        if self._writer is not None:
            self._writer.put(end)
            self._writer.flush()
            while not self._writer.attended(_LOOK_SECONDS):
                if self._stopping.is_set():
                    return
        self.progress.done = True


def collect(
    joined: JoinedReader, batching: Batching, patience: float | None = None
) -> tuple[list[Bundle], EndOfStream | None]:
    """Form one batch: wait for its first frame up to ``patience`` seconds, for more only ``wait_seconds``.

    Returns:
        The batch, empty where none came, and the end of the stream where it came.
    """
    batch: list[Bundle] = []
    deadline = 0.0
    while len(batch) < batching.size:
        item = joined.get(max(0.0, deadline - time.monotonic()) if batch else patience)
        if item is None:
            break
        if isinstance(item, EndOfStream):
            return batch, item
        if not batch:
            deadline = time.monotonic() + batching.wait_seconds
        batch.append(item)
    return batch, None
