"""One process, one stage, one run, over Kafka: its pages, its progress, and an end that others understand."""

from __future__ import annotations

import os
import threading
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from posetask.errors import PoseTaskError
from posetask.exports.metadata import tool_version
from posetask.media.jpeg import WireCodec
from posetask.runtime import health
from posetask.runtime.reports import Failure, StageReport, State
from posetask.runtime.runner import StageProgress, StageRunner
from posetask.runtime.stagefactory import RESULT, build_annotator, build_producer, find_stage, owns
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages.annotator import AnnotatorStage
from posetask.stages.base import Source, Stage, StageContext, parse_parameters
from posetask.stages.producer import RAW_FRAMES, ProducerStage
from posetask.stages.sinks import stream_folder
from posetask.storage.durable import write_durably
from posetask.telemetry import Timings, available_cores
from posetask.telemetry.metrics import StageMetrics, StageSample
from posetask.transport import Window
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.progress import ProgressWriter
from posetask.transport.kafka.reader import KafkaReader
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.writer import KafkaWriter

REPORT_SECONDS = 0.5
_QUICK_SECONDS = 1.0
TERMINATION_LOG = Path("/dev/termination-log")


class StageProcess:
    """Runs a stage of a run to its end.

    Args:
        spec: What to do.
        settings: How to reach the brokers.

    Attributes:
        state: See :class:`StageReport`.

    Raises:
        InvalidParameters: There is no such stage.
    """

    def __init__(self, spec: StageProcessSpec, settings: KafkaSettings) -> None:
        self.spec, self._settings = spec, settings
        self._class = find_stage(spec.stage)
        self._instance = uuid.uuid4().hex[:12]
        self.state: State = "starting"
        self._error: PoseTaskError | None = None
        self._metrics = StageMetrics(spec.stage, tool_version().removeprefix("posetask "), self._sample)
        self._timings = Timings(self._metrics.step)
        self._cores = spec.cores or available_cores()
        self._stage: Stage[Any] | None = None
        self._runner: StageRunner | None = None
        self._bus: KafkaBus | None = None
        self._readers: dict[str, KafkaReader] = {}
        self._writer: KafkaWriter | None = None
        self._window = Window()
        self._lag: dict[str, int] = {}
        self._asking, self._closed = threading.Lock(), False
        self._leaving = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Work to the end of the stream, or until :meth:`stop`; ``state`` then says which.

        Raises:
            PoseTaskError: The stage failed; written to the termination log, too.
        """
        with ExitStack() as stack:
            address = self.spec.listen or f"127.0.0.1:{self._class.port}"
            self.server = stack.enter_context(health.HealthServer(address, self._pages()))
            progress = ProgressWriter(self._settings)
            reporter = threading.Thread(target=self._report, args=(progress,), name="progress")
            reporter.start()
            try:
                self._work()
            except PoseTaskError as error:
                self._error = error
                self.state = "stopped" if self._leaving.is_set() else "failed"
                if self.state == "failed":
                    write_last_words(error)
                    raise
            finally:
                self._ended.set()
                reporter.join()
                progress.close()

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

    def finish_early(self) -> None:
        """End the stream after the current frame, where this is the producer; leave where it is not."""
        if isinstance(self._stage, ProducerStage):
            self._stage.stop()
        else:
            self.stop()

    @property
    def report(self) -> StageReport:
        """How far it is."""
        at = self._runner.progress if self._runner is not None else StageProgress(self.spec.stage)
        return StageReport(
            run=self.spec.run,
            stage=self.spec.stage,
            instance=self._instance,
            state=self.state,
            frames=at.frames,
            quarantined=at.quarantined,
            starts=min((reader.starts for reader in self._readers.values()), default=1),
            lag=self._lags(),
            facts=self._stage.facts() if self._stage is not None else {},
            busy=self._timings.seconds(),
            cores=self._cores,
            error=Failure.of(self._error) if self._error is not None else None,
        )

    def _work(self) -> None:
        spec = self.spec
        result = stream_folder(spec.output) / RESULT if spec.output is not None else None
        if result is not None and spec.output is not None and owns(spec.output, spec.run) and result.exists():
            self.state = "done"  # an earlier process came to the end, and died before it could say so
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
            self._runner = runner = StageRunner(
                stage, list(self._readers.values()), self._writer, bus.cancel, self._metrics.batch
            )
            if self._leaving.is_set():
                runner.stop()
            runner.run()
            if runner.progress.done:
                if result is not None and isinstance(stage, AnnotatorStage):
                    write_durably(result, self.report.model_dump_json().encode())
                self.state = "done"
            else:
                self.state = "stopped"
                for reader in self._readers.values():
                    reader.forgive()

    def _let_go(self) -> None:
        """The clients are about to be closed, while the report is still asked for."""
        with self._asking:
            self._lag = {topic: reader.lag for topic, reader in self._readers.items()}
            self._closed = True

    def _build(self, context: StageContext) -> Stage[Any]:
        if self.spec.stage == ProducerStage.name:
            made, info = build_producer(self.spec, context)
            self._window = self.spec.window(info)
            return made
        if self.spec.stage == AnnotatorStage.name:
            annotator, info = build_annotator(self.spec, context, self._pressed)
            self._window = self.spec.window(info)
            return annotator
        return self._class(parse_parameters(self._class, self.spec.parameters), context)

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

    def _sample(self) -> StageSample:
        report = self.report
        return StageSample(
            frames=report.frames,
            quarantined=report.quarantined,
            ready=self._ready,
            lag=report.lag,
            read={topic: reader.nbytes for topic, reader in self._readers.items()},
            written=self._writer.nbytes if self._writer is not None else 0,
            model=report.facts.get("model", {}),
        )

    @property
    def _ready(self) -> bool:
        return self._runner is not None and self._runner.progress.ready

    def _pages(self) -> dict[str, health.Page]:
        return {
            "/healthz": lambda: health.text(500 if self.state == "failed" else 200, self.state),
            "/readyz": lambda: health.text(
                200 if self._ready else 503, "ready" if self._ready else "not yet"
            ),
            "/metrics": lambda: health.metrics(self._metrics.render()),
            "/status": lambda: health.document(self.report.model_dump_json()),
        }

    def _report(self, progress: ProgressWriter) -> None:
        said = None
        while True:
            ended = self._ended.wait(REPORT_SECONDS)
            if self.state == "starting" and self._ready:
                self.state = "running"
            report = self.report
            if ended or (report.state, report.frames) != said:
                said = (report.state, report.frames)
                progress.write(report.run, report.stage, report.model_dump_json().encode())
            if ended:
                return


def write_last_words(error: PoseTaskError) -> None:
    """One line of JSON where Kubernetes looks for it, or where ``POSETASK_TERMINATION_LOG`` says."""
    given = os.environ.get("POSETASK_TERMINATION_LOG")
    path = Path(given) if given else TERMINATION_LOG
    if given or path.exists():
        with suppress(OSError):  # the error itself is what matters
            path.write_text(Failure.of(error).model_dump_json() + "\n")
