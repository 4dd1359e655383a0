"""The one runner: drives any stage between its readers and its writer, in one process for one task.

Reading, processing and emitting overlap: the caller's thread joins inputs and forms batches, workers
run ``process``, and an emitting thread hands results on in frame order and commits after they are
acknowledged. Everything in between is bounded.
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
from posetask.runtime.join import Bundle, JoinedReader
from posetask.stages.base import Batching, Source, Stage
from posetask.transport import Bus, Cancelled, Reader, Writer


@dataclass(slots=True)
class StageProgress:
    """How far one stage is. Written by its runner, read by anyone."""

    stage: str
    frames: int = 0
    done: bool = False


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
    """

    def __init__(
        self,
        stage: Stage[Any],
        readers: Sequence[Reader],
        writer: Writer | None,
        on_failure: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.stage = stage
        self.progress = StageProgress(stage.name)
        self._readers = readers
        self._writer = writer
        self._on_failure = on_failure
        self._emitted = 0
        self._failure: BaseException | None = None

    @classmethod
    def on(cls, bus: Bus, stage: Stage[Any]) -> StageRunner:
        """A runner for ``stage`` on the topics it declares; a failure cancels the whole bus."""
        readers = [bus.reader(topic, stage.name) for topic in stage.inputs]
        writer = bus.writer(stage.output) if stage.output else None
        return cls(stage, readers, writer, on_failure=bus.cancel)

    def run(self) -> int:
        """Open, run to the end of the stream, close.

        Returns:
            Frames worked.

        Raises:
            StageFailed: The stage raised, or broke its contract.
            PoseTaskError: What the stage itself raised from the tree.
            Cancelled: The run ended elsewhere.
        """
        try:
            try:
                self.stage.open()
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
        self.progress.done = True
        return self._emitted

    def _work(self) -> None:
        if isinstance(self.stage, Source):
            self._emit(self.stage.produce())
            self._end(EndOfStream(self._emitted, self.stage.report))
        else:
            self._consume()

    def _consume(self) -> None:
        batching = self.stage.batching
        if batching.workers > 1 and not self.stage.concurrent:
            raise TypeError(f"it is not concurrent, yet asks for {batching.workers} workers")
        joined = JoinedReader(self._readers)
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

    def _read_all(
        self, joined: JoinedReader, batching: Batching, workers: ThreadPoolExecutor, pending: _Pending
    ) -> None:
        while self._failure is None:
            batch, end = collect(joined, batching)
            if batch:
                future = workers.submit(self._process, batch)
                pending.put(_Batch(batch[-1][0].header.index, future))
            if end is not None:
                pending.put(end)
                return

    def _process(self, batch: Sequence[Bundle]) -> Sequence[Message]:
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
                    self._emit(self.stage.finish(item))
                    self._end(item)
                else:
                    self._emit(item.results.result())
                    if self._writer is None:
                        self._emitted = self.progress.frames = item.last_index + 1
                    joined.commit(item.last_index)
        except BaseException as error:
            self._failure = error
            self._on_failure(error)
            while pending.get() is not None:  # so that the reading side can put its last and go
                pass

    def _emit(self, messages: Iterable[Message]) -> None:
        if self._writer is None:
            return
        for message in messages:
            if message.header.index != self._emitted:
                got, due = message.header.index, self._emitted
                raise StageFailed(f"stage {self.stage.name} emitted frame {got} where {due} was due")
            self._writer.put(message)
            self._emitted += 1
            self.progress.frames = self._emitted

    def _end(self, end: EndOfStream) -> None:
        if self._emitted != end.frames:
            raise StageFailed(f"stage {self.stage.name} worked {self._emitted} of {end.frames} frames")
        if self._writer is not None:
            self._writer.put(end)
            self._writer.flush()


def collect(joined: JoinedReader, batching: Batching) -> tuple[list[Bundle], EndOfStream | None]:
    """Form one batch: wait for its first frame as long as it takes, for more only ``wait_seconds``.

    Returns:
        The batch, and the end of the stream where it came.
    """
    batch: list[Bundle] = []
    deadline = 0.0
    while len(batch) < batching.size:
        item = joined.get(max(0.0, deadline - time.monotonic()) if batch else None)
        if item is None:
            break
        if isinstance(item, EndOfStream):
            return batch, item
        if not batch:
            deadline = time.monotonic() + batching.wait_seconds
        batch.append(item)
    return batch, None
