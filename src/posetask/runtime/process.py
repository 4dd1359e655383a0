"""One process, one stage, one run, over Kafka: its pages, its progress, and an end that others understand."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from posetask.errors import PoseTaskError
from posetask.exports.metadata import tool_version
from posetask.runtime import health
from posetask.runtime.reports import StageReport, State, write_last_words
from posetask.runtime.stagespec import StageProcessSpec
from posetask.runtime.work import StageWork
from posetask.telemetry.metrics import StageMetrics
from posetask.transport.kafka.progress import ProgressWriter
from posetask.transport.kafka.settings import KafkaSettings

REPORT_SECONDS = 0.5


class StageProcess:
    """Runs a stage of a run to its end.

    Args:
        spec: What to do.
        settings: How to reach the brokers.

    Raises:
        InvalidParameters: There is no such stage.
    """

    def __init__(self, spec: StageProcessSpec, settings: KafkaSettings) -> None:
        self.spec, self._settings = spec, settings
        version = tool_version().removeprefix("posetask ")
        self._metrics = StageMetrics(spec.stage, version, lambda: self._work.sample())
        self._work = StageWork(spec, settings, on_step=self._metrics.step, on_batch=self._metrics.batch)
        self._ended = threading.Event()

    @property
    def state(self) -> State:
        """See :class:`StageReport`."""
        return self._work.state

    @property
    def report(self) -> StageReport:
        """How far it is."""
        return self._work.look()

    def run(self) -> None:
        """Work to the end of the stream, or until :meth:`stop`; ``state`` then says which.

        Raises:
            PoseTaskError: The stage failed; written to the termination log, too.
        """
        with ExitStack() as stack:
            address = self.spec.listen or f"127.0.0.1:{self._work.stage_class.port}"
            self.server = stack.enter_context(health.HealthServer(address, self._pages()))
            progress = ProgressWriter(self._settings)
            reporter = threading.Thread(target=self._report, args=(progress,), name="progress")
            reporter.start()
            try:
                self._work.run()
            except PoseTaskError as error:
                write_last_words(error)
                raise
            finally:
                self._ended.set()
                reporter.join()
                progress.close()

    def stop(self) -> None:
        """Leave soon, in good order, for another process to take over. From any thread or signal handler."""
        self._work.stop()

    def cancel(self) -> None:
        """Leave now."""
        self._work.cancel()

    def finish_early(self) -> None:
        """End the stream after the current frame, where this is the producer; leave where it is not."""
        if not self._work.finish_early():
            self.stop()

    def _pages(self) -> dict[str, health.Page]:
        return {
            "/healthz": lambda: health.text(500 if self.state == "failed" else 200, self.state),
            "/readyz": lambda: health.text(
                200 if self._work.ready else 503, "ready" if self._work.ready else "not yet"
            ),
            "/metrics": lambda: health.metrics(self._metrics.render()),
            "/status": lambda: health.document(self.report.model_dump_json()),
        }

    def _report(self, progress: ProgressWriter) -> None:
        said = None
        while True:
            ended = self._ended.wait(REPORT_SECONDS)
            report = self.report
            if ended or (report.state, report.frames) != said:
                said = (report.state, report.frames)
                progress.write(report.run, report.key, report.model_dump_json().encode())
            if ended:
                return
