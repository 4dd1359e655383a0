"""One stage of one run over Kafka: built, driven by the runner, stopped; and what it says of itself.

A process has one of these (``posetask stage``) or many (``posetask service``).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from posetask.errors import PoseTaskError, StageFailed
from posetask.media.jpeg import WireCodec
from posetask.runtime.ownership import RESULT, owns
from posetask.runtime.replicas import check_stage
from posetask.runtime.reports import Failure, StageReport, State
from posetask.runtime.runner import StageProgress, StageRunner
from posetask.runtime.stagefactory import build_annotator, build_producer, find_stage
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages.base import Source, Stage, StageContext, parse_parameters
from posetask.stages.names import ANNOTATOR, PRODUCER, RAW_FRAMES, stream_folder
from posetask.storage.durable import write_durably
from posetask.telemetry import Timings, available_cores
from posetask.telemetry.metrics import StageSample
from posetask.transport import EmitAgain, Window
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.reader import KafkaReader
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.writer import KafkaWriter

if TYPE_CHECKING:
    from posetask.runtime.publish import Publisher

logger = logging.getLogger(__name__)

_QUICK_SECONDS = 1.0


class StageWork:
    """Runs a stage of a run to its end, once.

    Args:
        spec: What to do.
        settings: How to reach the brokers.
        on_step: Told every step of work and its seconds.
        on_batch: Told the size of every batch.

    Attributes:
        state: See :class:`StageReport`; ``running`` is said by :meth:`look`.
        error: Why it failed.

    Raises:
        InvalidParameters: There is no such stage, or it cannot have replicas.
    """

    def __init__(
        self,
        spec: StageProcessSpec,
        settings: KafkaSettings,
        *,
        on_step: Callable[[str, float], None] | None = None,
        on_batch: Callable[[int], None] = lambda frames: None,
    ) -> None:
        self.spec, self._settings, self._on_batch = spec, settings, on_batch
        self.stage_class = find_stage(spec.stage)
        check_stage(self.stage_class, spec.replicas)
        self.state: State = "starting"
        self.error: PoseTaskError | None = None
        self._instance = uuid.uuid4().hex[:12]
        self._timings = Timings(on_step)
        self._cores = spec.cores or available_cores()
        self._stage: Stage[Any] | None = None
        self._runner: StageRunner | None = None
        self._bus: KafkaBus | None = None
        self._readers: dict[str, KafkaReader] = {}
        self._writer: KafkaWriter | None = None
        self._window = Window()
        self._lag: dict[str, int] = {}
        self._known: tuple[int, int | None] = (0, None)
        self._asking, self._closed = threading.Lock(), False
        self._published: StageReport | None = None
        self._publisher: Publisher | None = None
        self._leaving, self._finishing = threading.Event(), threading.Event()

    def run(self) -> None:
        """Work to the end of the stream, or until :meth:`stop`; ``state`` then says which.

        Raises:
            PoseTaskError: The stage failed; ``error`` says so, too.
        """
        try:
            while self.state in {"starting", "running"}:
                try:
                    self._work()
                except EmitAgain as gone:
                    self._begin_anew(gone)
        except Exception as raised:
            error = raised if isinstance(raised, PoseTaskError) else _defect(self.spec.stage, raised)
            self.error = error
            self.state = "stopped" if self._leaving.is_set() else "failed"
            if self.state == "failed":
                raise error from raised.__cause__ if error is raised else raised
        finally:
            if self._publisher is not None:
                self._publisher.close()

    def stop(self) -> None:
        """Leave soon, in good order, for another process to take over. From any thread or signal handler."""
        self._leaving.set()
        runner = self._runner
        if runner is not None:
            runner.stop()
            # A producer may wait for its window for as long as its readers are away.
            patience = _QUICK_SECONDS if isinstance(runner.stage, Source) else self.spec.grace_seconds
            timer = threading.Timer(patience, self.cancel)
            timer.daemon = True
            timer.start()
        else:
            self.cancel()

    def cancel(self) -> None:
        """Leave now."""
        self._leaving.set()
        if self._bus is not None:
            self._bus.cancel()

    def finish_early(self) -> bool:
        """End the stream soon, in order, where this is a source; whether it is. From any thread."""
        self._finishing.set()
        if self._runner is not None:
            self._runner.finish_early()
        return issubclass(self.stage_class, Source)

    def look(self) -> StageReport:
        """How far it is."""
        if self.state == "starting" and self.ready:
            self.state = "running"
        if self._published is not None:
            return self._published.model_copy(update={"instance": self._instance, "state": self.state})
        at = self._runner.progress if self._runner is not None else StageProgress(self.spec.stage)
        return StageReport(
            run=self.spec.run,
            stage=self.spec.stage,
            replica=self.spec.replica,
            replicas=self.spec.replicas,
            instance=self._instance,
            state=self.state,
            frames=at.frames,
            quarantined=at.quarantined,
            starts=min((reader.starts for reader in self._readers.values()), default=1),
            lag=self._lags(),
            facts=self._facts(),
            busy=self._timings.seconds(),
            cores=self._cores,
            error=Failure.of(self.error) if self.error is not None else None,
        )

    def _facts(self) -> dict[str, Any]:
        facts = self._stage.facts() if self._stage is not None else {}
        return self._publisher.named(facts) if self._publisher is not None else facts

    @property
    def ready(self) -> bool:
        """The stage is open and reads."""
        return self._runner is not None and self._runner.progress.ready

    def sample(self) -> StageSample:
        """What Prometheus is told."""
        report = self.look()
        return StageSample(
            frames=report.frames,
            quarantined=report.quarantined,
            ready=self.ready,
            lag=report.lag,
            read={topic: reader.nbytes for topic, reader in self._readers.items()},
            written=self._writer.nbytes if self._writer is not None else 0,
            model=report.facts.get("model", {}),
        )

    def _work(self) -> None:
        spec = self.spec
        if spec.publish is not None and spec.stage == ANNOTATOR and self._publisher is None:
            from posetask.runtime.publish import claim_output

            self._publisher = claim_output(spec)
        result = stream_folder(spec.output) / RESULT if spec.output is not None else None
        if result is not None and spec.output is not None and owns(spec.output, spec.run) and result.exists():
            # An earlier process came to the end, and died before it could say so.
            self._published = StageReport.model_validate_json(result.read_bytes())
            self.state = "done"
            return
        context = StageContext(spec.run, spec.device, self._cores, self._timings)
        self._stage = stage = self._build(context)
        with ExitStack() as stack:
            stack.callback(stage.close)  # the runner does it too; a bus that fails comes before the runner
            self._bus = bus = KafkaBus(
                self._settings,
                spec.run,
                windows={RAW_FRAMES: spec.window_readers},
                window=self._window,
                replica=spec.as_replica,
                codec=WireCodec.parse(spec.wire_codec),
                again=not spec.live,
                replay=stage.replays,
            )
            stack.callback(bus.close)
            stack.callback(self._let_go)
            self._readers = {topic: bus.reader(topic, stage.name) for topic in stage.inputs}
            self._writer = bus.writer(stage.output) if stage.output else None
            if self._writer is not None:
                self._writer.inherit(*self._known)
                if spec.live and spec.stage == PRODUCER:
                    stage.follow(self._writer.next_index, self._writer.is_full)  # type: ignore[attr-defined]
            self._runner = runner = StageRunner(
                stage, list(self._readers.values()), self._writer, bus.cancel, self._on_batch
            )
            if self._leaving.is_set():
                runner.stop()
            if self._finishing.is_set():
                runner.finish_early()
            runner.run()
            if runner.progress.done:
                if self._publisher is not None:
                    self._publisher.files()
                if result is not None and self.spec.stage == ANNOTATOR:
                    write_durably(result, self.look().model_dump_json().encode())
                    if self._publisher is not None:
                        self._publisher.result(result)
                self.state = "done"
            else:
                self.state = "stopped"
                for reader in self._readers.values():
                    reader.forgive()

    def _begin_anew(self, gone: EmitAgain) -> None:
        """What a reader needs has left the broker: the source is decoded again, what is gone sent again."""
        if self._leaving.is_set():
            self.state = "stopped"
            return
        logger.warning("%s: %s", self.spec.stage, gone)
        if self._writer is not None:
            self._known = self._writer.reach, self._writer.frames
        with self._asking:
            self._closed = False

    def _let_go(self) -> None:
        """The clients are about to be closed, while the report is still asked for."""
        with self._asking:
            self._lag = {topic: reader.lag for topic, reader in self._readers.items()}
            self._closed = True

    def _build(self, context: StageContext) -> Stage[Any]:
        if self.spec.stage == PRODUCER:
            made, info = build_producer(self.spec, context)
            self._window = self.spec.window(info)
            return made
        if self.spec.stage == ANNOTATOR:
            annotator, info = build_annotator(self.spec, context, self._pressed, self._publisher)
            self._window = self.spec.window(info)
            return annotator
        kind = self.stage_class
        return kind(parse_parameters(kind, self.spec.parameters), context)

    def _lags(self) -> dict[str, int]:
        with self._asking:
            if not self._closed:
                self._lag = {topic: reader.lag for topic, reader in self._readers.items()}
            return self._lag

    def _pressed(self) -> bool:
        """Whether the frames that the annotator holds fill the producer's window, which then waits for us.

        A segment is committed whole. Where frames are large, or come faster than the source's mean rate, the
        window would fill before a segment is complete.
        """
        records, nbytes = self._readers[RAW_FRAMES].held
        return records > 0.75 * self._window.records or nbytes > 0.5 * self._window.nbytes


def _defect(stage: str, error: Exception) -> StageFailed:
    return StageFailed(
        f"stage {stage} failed: {type(error).__name__}: {error}",
        hint="this is a defect; report it with the command and, if you can, the source",
    )
