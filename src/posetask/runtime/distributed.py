"""A run over Kafka on this machine: five processes or more, one broker, the files of the embedded run."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from posetask.errors import InvalidParameters, KafkaUnavailable, PoseTaskError
from posetask.exports import RunMetadata, check_targets
from posetask.models.store import resolve_detector, resolve_pose
from posetask.runtime.children import COMMAND, Child, end_all
from posetask.runtime.nursery import Nursery
from posetask.runtime.options import RunOptions
from posetask.runtime.outputs import check_output
from posetask.runtime.ownership import OWNER, RESULT, release, sweep
from posetask.runtime.replicas import check_replicas, partitions
from posetask.runtime.reports import StageReport
from posetask.runtime.sources import Source, digest, open_source
from posetask.runtime.stagespec import StageProcessSpec
from posetask.runtime.summary import Summary, summarise
from posetask.stages.names import (
    ANNOTATOR,
    MODULES,
    PRODUCER,
    RAW_FRAMES,
    TOPICS,
    stream_folder,
)
from posetask.storage.durable import refuse_existing
from posetask.telemetry import available_cores
from posetask.transport import Cancelled
from posetask.transport.kafka.names import group_name, run_id, topic_name
from posetask.transport.kafka.progress import ProgressReader, forget, make_progress_topic
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config

logger = logging.getLogger(__name__)

NAMES = tuple(MODULES)
KEEP_SECONDS = 7 * 24 * 3600
_POLL_SECONDS = 0.1
_LAST_WORDS_SECONDS = 5.0
_GRACE_SECONDS = 10.0


class DistributedRun:
    """One video, worked by a process a stage, or several, of this machine over a Kafka broker.

    What can be refused without the broker is refused here; topics are made by :meth:`start` and are gone,
    confirmed, when :meth:`wait` returns.

    Args:
        source: One of :func:`posetask.runtime.sources.resolve`'s; a video.
        output: The MP4; data files stand beside it.
        options: As of the embedded run.
        settings: How to reach the brokers.
        environment: Variables for the processes, which say the same as ``settings``.
        command: What starts a process of ours; ``stage NAME …`` follows. None forks them all from one that
            has loaded what they need, where this system can.
        replicas: Processes of a stage that shall have more than one; they share the machine's cores.

    Attributes:
        children: By name: the stage's, with a number where it has replicas (``yolox.0``).

    Raises:
        PoseTaskError: The source, a model, an option or the output is refused.
    """

    def __init__(
        self,
        source: Source,
        output: Path,
        options: RunOptions,
        settings: KafkaSettings,
        environment: dict[str, str] | None = None,
        command: Sequence[str] | None = None,
        replicas: Mapping[str, int] | None = None,
    ) -> None:
        self.replicas = dict(replicas or {})
        check_replicas(self.replicas)
        if source.kind != "video":
            raise InvalidParameters("images are not run over Kafka", hint="leave --kafka away")
        self.source, self.output, self.options, self._settings = source, output, options, settings
        o = options
        with open_source(
            source, start=o.start, duration=o.duration, max_frames=o.max_frames, frame_rate=o.frame_rate
        ) as opened:
            self.info = opened.info
        detector, pose = resolve_detector(o.detector_name), resolve_pose(o.pose_name)
        check_output(output, source)
        self._targets = check_targets(output.with_suffix(""), o.formats, overwrite=o.force)
        if o.video:
            refuse_existing(output, overwrite=o.force)
        self._metadata = RunMetadata(
            source=source.name,
            source_sha256=digest(source),
            width=self.info.width,
            height=self.info.height,
            frame_rate=self.info.frame_rate,
            detector=detector.spec.name,
            detector_sha256=detector.sha256 or "",
            pose=pose.spec.name,
            pose_sha256=pose.sha256 or "",
        )
        self.run = run_id(
            re.sub(r"[^a-z0-9]+", "-", source.name.lower()).strip("-") or "run", uuid.uuid4().hex
        )
        self._environment = {"POSETASK_KAFKA": settings.bootstrap, **(environment or {})}
        self._folder = Path(tempfile.mkdtemp(prefix="posetask-run-"))
        self._nursery = None
        if command is None and sys.platform == "linux":
            self._nursery = Nursery(self._folder / "nursery.log", os.environ)
        processes = [
            Child(
                self._spec(name, number), self._folder, self._environment, command or COMMAND, self._nursery
            )
            for name in NAMES
            for number in range(self.replicas.get(name, 1))
        ]
        self.children = {child.name: child for child in processes}
        self._reports: dict[str, StageReport] = {}
        self._given_up: dict[tuple[str, str], int] = {}
        self._interrupted, self._cancelled = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._supervise, name="supervisor")
        self._began = self._seconds = 0.0

    def start(self) -> None:
        """Make the topics and start everything; returns at once after the topics are made.

        Raises:
            PoseTaskError: The brokers are away or refuse; nothing is left behind.
        """
        self._began = time.perf_counter()
        admin = TopicAdmin(self._settings)
        try:
            if self._nursery is not None:
                self._nursery.open()  # it loads while the topics are made
            make_progress_topic(admin)
            raw = raw_config(message_bytes=self._settings.message_bytes)
            kept = result_config(keep_seconds=KEEP_SECONDS, message_bytes=self._settings.message_bytes)
            admin.create(
                [
                    TopicSpec(
                        topic_name(topic, self.run),
                        partitions(topic, self.replicas),
                        raw if topic == RAW_FRAMES else kept,
                    )
                    for topic in TOPICS
                ]
            )
            self._progress = ProgressReader(self._settings, self.run)
        except KafkaUnavailable:
            self._clean_up_here()
            raise
        except BaseException:
            self._clean_up()
            raise
        self._thread.start()

    def stop(self) -> None:
        """End early: what is under way is finished, and everything written is whole and valid."""
        self._interrupted.set()

    def cancel(self) -> None:
        """Give up at once: nothing is published."""
        self._cancelled.set()

    @property
    def frames_expected(self) -> int | None:
        """How many frames there will be, as far as the container's claims go; None if unknown."""
        return self.options.frames_expected(self.info)

    @property
    def annotated(self) -> tuple[int, int]:
        """Frames done so far, and the most people seen in one."""
        report = self._reports.get(ANNOTATOR)
        return (report.frames, int(report.facts.get("people", 0))) if report is not None else (0, 0)

    @property
    def reports(self) -> dict[str, StageReport]:
        """The last word of every process that said one."""
        return dict(self._reports)

    @property
    def quarantined(self) -> int:
        """Frames given up so far, by all processes together."""
        return sum(self._given_up.values())

    def wait(self, timeout: float | None = None) -> Summary | None:
        """Wait for the end.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            What it came to, or None where the time passed.

        Raises:
            PoseTaskError: The first failure of any stage that starting anew could not mend.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            return None
        if self._failure is not None:
            raise self._failure
        return self._summary

    def _spec(self, name: str, number: int) -> StageProcessSpec:
        o = self.options
        common = StageProcessSpec(
            run=self.run,
            stage=name,
            parameters=o.stage_parameters[name],
            device=o.device,
            replica=number,
            replicas=(count := self.replicas.get(name, 1)),
            cores=max(1, available_cores() // count) if count > 1 else None,
            wire_codec=o.wire_codec or "jpeg:90",
            encoder=o.encoder,
        )
        if name not in ("producer", "annotator"):
            return common
        reading = StageProcessSpec(**common.model_dump(exclude={"source"}), source=self.source.location)
        reading = reading.model_copy(update=o.model_dump(include={"start", "duration", "max_frames"}))
        if name == "producer":
            return reading
        written = {"output": self.output.absolute(), "metadata": self._metadata}
        return reading.model_copy(update={**written, **o.model_dump(include={"formats", "video", "force"})})

    def _supervise(self) -> None:
        try:
            self._watch()
            self._seconds = time.perf_counter() - self._began
            self._hear_last_words()
            self._summary = self._summarise()
        except BaseException as error:
            self._failure = error
        finally:
            end_all(list(self.children.values()), _GRACE_SECONDS)
            self._progress.close()
            self._clean_up()

    def _watch(self) -> None:
        asked = 0.0
        for child in self.children.values():
            child.start()
        while not all(child.done for child in self.children.values()):
            self._listen(_POLL_SECONDS)
            if self._cancelled.is_set():
                raise Cancelled("cancelled by the caller")
            for child in self.children.values():
                failure = child.failure()
                if failure is not None:
                    raise failure
                if child.pid is None and not child.done:
                    logger.warning("stage %s died, starting it anew", child.name)
                    report = self._reports.get(child.name)
                    child.start(report.frames if report is not None else 0)
            if self._interrupted.is_set() and time.monotonic() - asked > 1.0 and self._decoding:
                asked = time.monotonic()
                self.children[PRODUCER].send(signal.SIGINT)

    @property
    def _decoding(self) -> bool:
        """A process that is not up yet would not know what to do with a signal."""
        report = self._reports.get(PRODUCER)
        return report is not None and report.state == "running"

    def _listen(self, seconds: float) -> None:
        for word in self._progress.poll(seconds):
            with suppress(ValidationError):  # another version's
                report = StageReport.model_validate_json(word.value or b"")
                self._reports[word.stage] = report
                self._given_up[word.stage, report.instance] = report.quarantined

    def _hear_last_words(self) -> None:
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < deadline and not all(
            (report := self._reports.get(name)) is not None and report.state == "done"
            for name in self.children
        ):
            self._listen(_POLL_SECONDS)
        with suppress(OSError, ValidationError):
            said = (stream_folder(self.output) / RESULT).read_bytes()
            self._reports[ANNOTATOR] = StageReport.model_validate_json(said)

    def _summarise(self) -> Summary:
        return summarise(
            {report.stage: report.facts for report in self._reports.values()},
            [report.busy for report in self._reports.values()],
            source=self.source.name,
            output=self.output if self.options.video else None,
            exports=self._targets,
            frames_declared=self.info.frames_declared,
            given_up=self.quarantined,
            seconds=self._seconds,
            interrupted=self._interrupted.is_set(),
            cores=available_cores(),
        )

    def _clean_up(self) -> None:
        """Leave nothing but the result: every step is tried, and what failed is said, not raised."""
        admin = TopicAdmin(self._settings)
        topics = [topic_name(topic, self.run) for topic in TOPICS]
        groups = [group_name(stage, self.run) for stage in NAMES[1:]]
        steps: list[Callable[[], None]] = [
            lambda: admin.delete(topics),
            lambda: admin.delete_groups(groups),
            lambda: forget(self._settings, self.run, self.children),
        ]
        for step in steps:
            try:
                step()
            except PoseTaskError as error:
                logger.warning("run %s is not cleaned up: %s", self.run, error)
        self._clean_up_here()

    def _clean_up_here(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
        if self.options.keep_stream and self._failure is None:
            for name in (OWNER, RESULT):
                (stream_folder(self.output) / name).unlink(missing_ok=True)
        else:
            release(self.output, self.run)
        sweep([self.output, *self._targets.values()])
        shutil.rmtree(self._folder, ignore_errors=True)
