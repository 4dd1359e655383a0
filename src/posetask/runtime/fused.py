"""All stages of one run in one process, as a Fused task's pod runs them; progress goes to a broker."""

from __future__ import annotations

import logging
import threading
import uuid
from contextlib import ExitStack
from typing import Any, Protocol

from posetask.errors import InvalidParameters, PoseTaskError, StageFailed
from posetask.exports.metadata import tool_version
from posetask.runtime import health
from posetask.runtime.embedded import EmbeddedRun
from posetask.runtime.options import RunOptions
from posetask.runtime.ownership import OWNER, RESULT, owns, sweep
from posetask.runtime.publish import Publisher, claim_output
from posetask.runtime.reports import Failure, StageReport, State
from posetask.runtime.stagefactory import only_source
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages.names import ANNOTATOR, MODULES, stream_folder
from posetask.storage.durable import storage_errors, write_durably
from posetask.telemetry.metrics import StageMetrics, StageSample
from posetask.transport import Cancelled

logger = logging.getLogger(__name__)

FUSED = "fused"
PORT = 8100
REPORT_SECONDS = 0.5


class Words(Protocol):
    """Where progress goes: :class:`posetask.transport.kafka.progress.ProgressWriter`."""

    def write(self, run: str, stage: str, value: bytes | None) -> None:
        """Send it off."""

    def close(self) -> None:
        """Wait until what was written is there."""


class FusedProcess:
    """One run, embedded, with the face of a stage's process.

    A process that takes over begins anew: what is embedded keeps nothing but its result.

    Args:
        spec: ``parameters`` are the stages', by name; ``source`` and ``output`` are needed.
        words: Where progress goes, as five stages would say it; None keeps it here.

    Raises:
        InvalidParameters: The specification lacks something, or has parameters of no stage.
    """

    def __init__(self, spec: StageProcessSpec, words: Words | None = None) -> None:
        unknown = sorted(set(spec.parameters) - set(MODULES))
        strange = sorted(name for name, given in spec.parameters.items() if not isinstance(given, dict))
        if unknown or strange:
            raise InvalidParameters(
                f"parameters of {', '.join(unknown or strange)}",
                hint=f"they go by stage: {', '.join(MODULES)}",
            )
        if spec.output is None:
            raise InvalidParameters("a fused run needs an output", hint="set POSETASK_STAGE_OUTPUT")
        self.spec, self._output, self._words = spec, spec.output, words
        self.state: State = "starting"
        self.error: PoseTaskError | None = None
        version = tool_version().removeprefix("posetask ")
        self._metrics = StageMetrics(FUSED, version, self._sample)
        self._instance = uuid.uuid4().hex[:12]
        self._running: EmbeddedRun | None = None
        self._published: StageReport | None = None
        self._publisher: Publisher | None = None
        self._leaving, self._ended = threading.Event(), threading.Event()

    def run(self) -> None:
        """Work to the end, or until :meth:`stop`; ``state`` then says which.

        Raises:
            PoseTaskError: The run failed.
        """
        with ExitStack() as stack:
            address = self.spec.listen or f"127.0.0.1:{PORT}"
            self.server = stack.enter_context(health.HealthServer(address, self._pages()))
            reporter = threading.Thread(target=self._report, name="progress")
            reporter.start()
            try:
                self._work()
            except Exception as raised:
                self.state = "stopped" if self._leaving.is_set() else "failed"
                self.error = error = raised if isinstance(raised, PoseTaskError) else _defect(raised)
                if self.state == "failed":
                    raise error from raised.__cause__ if error is raised else raised
            finally:
                self._ended.set()
                reporter.join()
                if self._publisher is not None:
                    self._publisher.close()

    def stop(self) -> None:
        """Leave now; nothing is published, and another process begins anew. From any thread or handler."""
        self._leaving.set()
        if self._running is not None:
            self._running.cancel()

    def finish_early(self) -> None:
        """End the stream after the current frame; what is written is whole."""
        if self._running is not None:
            self._running.stop()
        else:
            self.stop()

    def reports(self) -> list[StageReport]:
        """What each of the stages would say."""
        if self.state == "starting" and self._ready:
            self.state = "running"
        if self._published is not None:
            frames = self._published.frames
            kept = self._published.model_copy(update={"instance": self._instance, "state": self.state})
            return [
                kept if name == ANNOTATOR else self._word(name, self.state, frames, {}) for name in MODULES
            ]
        running = self._running
        if running is None:
            return [self._word(name, self.state, 0, {}) for name in MODULES]
        out = []
        for name, at in running.pipeline.progress.items():
            facts = running.stages[name].facts()
            if name == ANNOTATOR and self._publisher is not None:
                facts = self._publisher.named(facts)
            # The annotator is done when the run is: what it wrote may still be on its way to the store.
            done = at.done and (name != ANNOTATOR or self.state == "done")
            out.append(self._word(name, "done" if done else self.state, at.frames, facts))
        return out

    def _work(self) -> None:
        spec, output = self.spec, self._output
        if spec.publish is not None:
            self._publisher = claim_output(spec)
        ours = owns(output, spec.run)
        folder = stream_folder(output)
        if ours and (folder / RESULT).exists():
            self._published = StageReport.model_validate_json((folder / RESULT).read_bytes())
            self.state = "done"
            return
        options = RunOptions.parse(
            {
                **spec.model_dump(include={"device", "start", "duration", "max_frames", "frame_rate"}),
                **spec.model_dump(include={"formats", "video", "encoder"}),
                "force": spec.force or ours,
                "keep_stream": True,  # it carries whose the output is
                "every_n": int(spec.parameters.get("producer", {}).get("every_n", 1)),
            }
        )
        self._running = running = EmbeddedRun(
            only_source(spec),
            output,
            options,
            parameters=spec.parameters,
            run=spec.run,
            on_step=self._metrics.step,
        )
        if ours:
            sweep([output])
        with storage_errors(folder):
            folder.mkdir(exist_ok=True)
        write_durably(folder / OWNER, spec.run.encode())
        if self._leaving.is_set():
            running.cancel()
        running.start()
        try:
            running.wait()
        except Cancelled:
            self.state = "stopped"
            return
        if self._publisher is not None:
            self._publisher.files()
        report = next(report for report in self.reports() if report.stage == ANNOTATOR)
        write_durably(folder / RESULT, report.model_dump_json().encode())
        if self._publisher is not None:
            self._publisher.result(folder / RESULT)
        self.state = "done"

    @property
    def _ready(self) -> bool:
        running = self._running
        return running is not None and all(at.ready or at.done for at in running.pipeline.progress.values())

    def _word(self, stage: str, state: State, frames: int, facts: dict[str, Any]) -> StageReport:
        return StageReport(
            run=self.spec.run,
            stage=stage,
            instance=self._instance,
            state=state,
            frames=frames,
            facts=facts,
            error=Failure.of(self.error) if self.error is not None and state == "failed" else None,
        )

    def _sample(self) -> StageSample:
        annotator = next(report for report in self.reports() if report.stage == ANNOTATOR)
        return StageSample(frames=annotator.frames, ready=self._ready)

    def _pages(self) -> dict[str, health.Page]:
        return {
            "/healthz": lambda: health.text(500 if self.state == "failed" else 200, self.state),
            "/readyz": lambda: health.text(
                200 if self._ready else 503, "ready" if self._ready else "not yet"
            ),
            "/metrics": lambda: health.metrics(self._metrics.render()),
            "/status": lambda: health.document(f"[{','.join(r.model_dump_json() for r in self.reports())}]"),
        }

    def _report(self) -> None:
        said: dict[str, tuple[State, int]] = {}
        while True:
            ended = self._ended.wait(REPORT_SECONDS)
            for report in self.reports():
                now = (report.state, report.frames)
                if self._words is not None and (ended or said.get(report.stage) != now):
                    said[report.stage] = now
                    self._words.write(report.run, report.stage, report.model_dump_json().encode())
            if ended:
                if self._words is not None:
                    self._words.close()
                return


def _defect(error: Exception) -> StageFailed:
    return StageFailed(
        f"the fused run failed: {type(error).__name__}: {error}",
        hint="this is a defect; report it with the command and, if you can, the source",
    )
