"""The two compacted topics in memory: ``posetask_runs`` (what may be taken away) and ``posetask_progress``.

One consumer reads both from their beginning and goes on. What we write ourselves is put in at once, with its
offset, so that a task sees its own record before the consumer does.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from posetask.errors import PoseTaskError
from posetask.transport.kafka.clientlog import CLIENT_LOG
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.progress import PROGRESS
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicSpec, open_client
from posetask_operator.core.observed import FailureSeen, ReportSeen, RunRecord

logger = logging.getLogger(__name__)

RUNS = "posetask_runs"
_LOGS = {"logger": CLIENT_LOG, "error_cb": CLIENT_LOG.error}
_PAUSE_SECONDS = 2.0


def runs_topic() -> TopicSpec:
    """The topic of all installations on these brokers."""
    return TopicSpec(RUNS, 1, {"cleanup.policy": "compact", "segment.ms": str(60 * 60 * 1000)})


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a compacted topic: its last value, and where that stood."""

    offset: int
    value: RunRecord | ReportSeen | None


Changed = Callable[[str, ReportSeen | None, ReportSeen | None], None]
"""Told run, report before and report now."""


class Follower:
    """Reads both topics on a thread of its own.

    Args:
        settings: Of the connection.
        on_report: Called on the reader's thread for every word of a stage.
    """

    def __init__(self, settings: KafkaSettings, on_report: Changed) -> None:
        self._settings, self._on_report = settings, on_report
        self._lock = threading.Lock()
        self._runs: dict[str, Entry] = {}
        self._reports: dict[str, dict[str, Entry]] = {}  # by run and process
        self._caught_up = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="kafka-follow", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(15)

    @property
    def caught_up(self) -> bool:
        """Whether all that stood there at the start has been read."""
        return self._caught_up.is_set()

    def record(self, run: str) -> RunRecord | None:
        """What ``posetask_runs`` says of a run."""
        with self._lock:
            entry = self._runs.get(run)
        return entry.value if entry is not None and isinstance(entry.value, RunRecord) else None

    def records(self) -> list[RunRecord]:
        """All of them."""
        with self._lock:
            return [e.value for e in self._runs.values() if isinstance(e.value, RunRecord)]

    def reports(self, run: str) -> dict[str, ReportSeen]:
        """The last words of a run's stages; replicas speak as one."""
        with self._lock:
            found = dict(self._reports.get(run, {}))
        said: dict[str, list[ReportSeen]] = {}
        for key in sorted(found):
            if isinstance(report := found[key].value, ReportSeen):
                said.setdefault(report.stage, []).append(report)
        return {stage: together(reports) for stage, reports in said.items()}

    def keys(self, run: str) -> frozenset[str]:
        """What the run's processes speak under: a stage's name, or a replica's (``yolox.1``)."""
        with self._lock:
            found = self._reports.get(run, {})
            return frozenset(key for key, e in found.items() if isinstance(e.value, ReportSeen))

    def put_run(self, run: str, record: RunRecord | None, offset: int) -> None:
        """The key stands so at that offset; older news of it is passed over."""
        with self._lock:
            if self._runs.get(run, Entry(-1, None)).offset < offset:
                self._runs[run] = Entry(offset, record)

    def put_report(self, run: str, process: str, report: ReportSeen | None, offset: int) -> None:
        """The same of a process's word."""
        with self._lock:
            processes = self._reports.setdefault(run, {})
            before = processes.get(process, Entry(-1, None))
            if before.offset >= offset:
                return
            processes[process] = Entry(offset, report)
            if all(entry.value is None for entry in processes.values()):
                del self._reports[run]
        known = before.value if isinstance(before.value, ReportSeen) else None
        self._on_report(run, known, report)

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                self._read()
            except (KafkaException, PoseTaskError) as error:
                logger.warning("%s and %s cannot be read, again soon: %s", RUNS, PROGRESS, error)
                self._closed.wait(_PAUSE_SECONDS)

    def _read(self) -> None:
        options = {**self._settings.consumer("posetask_operator"), **_LOGS}
        consumer: Consumer = open_client(Consumer, options, self._settings)
        try:
            missing = {}
            for topic in (RUNS, PROGRESS):
                _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10.0)
                missing[topic] = high
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in missing])
            while not self._closed.is_set():
                if not self._caught_up.is_set() and self._whole(consumer, missing):
                    self._caught_up.set()
                for message in consumer.consume(500, 0.2):
                    self._take(message)
        finally:
            consumer.close()

    def _whole(self, consumer: Consumer, missing: dict[str, int]) -> bool:
        # A compacted end may hold no record to wait for: the position is what counts.
        places = consumer.position([TopicPartition(topic, 0) for topic in missing])
        return all(missing[p.topic] == 0 or p.offset >= missing[p.topic] for p in places)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.name() in {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}:
                raise fault(error, f"reading {message.topic()}")
            return
        key, offset = (message.key() or b"").decode(errors="replace"), message.offset() or 0
        if message.topic() == RUNS:
            self.put_run(key, parse_record(message.value()), offset)
            return
        run, slash, process = key.rpartition("/")
        if slash:
            _, millis = message.timestamp()
            stage, _, _ = process.partition(".")
            self.put_report(run, process, parse_report(stage, message.value(), millis), offset)


def write_record(record: RunRecord) -> bytes:
    """A record of ``posetask_runs``.

    >>> record = RunRecord("main", "demo", "a", "u1", "a-u1", topics=("raw_frames_a-u1",))
    >>> parse_record(write_record(record)) == record
    True
    """
    return json.dumps({"version": 1, **asdict(record)}).encode()


def parse_record(value: bytes | None) -> RunRecord | None:
    """The record; None where it was taken away, or is nothing that we can read (then it is left alone)."""
    found = _json(value)
    names = ("installation", "namespace", "name", "uid", "run")
    if not all(isinstance(found.get(name), str) for name in names):
        return None
    return RunRecord(
        **{name: found[name] for name in names},
        topics=_texts(found.get("topics")),
        groups=_texts(found.get("groups")),
        stages=_texts(found.get("stages")),
    )


def parse_report(stage: str, value: bytes | None, millis: int) -> ReportSeen | None:
    """A stage's word; None where it was taken away or cannot be read.

    >>> parse_report("yolox", b'{"state": "running", "frames": 3, "lag": {"raw_frames": 2}}', 0).lag
    2
    """
    found = _json(value)
    if not isinstance(found.get("state"), str):
        return None
    error, lag = found.get("error"), found.get("lag")
    return ReportSeen(
        stage=stage,
        state=found["state"],
        at=datetime.fromtimestamp(millis / 1000 if millis > 0 else time.time(), UTC),
        frames=_count(found.get("frames")),
        quarantined=_count(found.get("quarantined")),
        lag=sum(_count(n) for n in lag.values()) if isinstance(lag, dict) else 0,
        facts=found["facts"] if isinstance(found.get("facts"), dict) else {},
        error=_failure(error) if isinstance(error, dict) else None,
    )


_STATES = ("failed", "stopped", "starting", "running", "done")
"""The first of these that a replica is in is the stage's."""


def together(reports: Sequence[ReportSeen]) -> ReportSeen:
    """What the replicas of a stage say, as one word: counts are summed, the state is that of the worst.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> said = [ReportSeen("yolox", "done", at, frames=3), ReportSeen("yolox", "running", at, frames=2)]
    >>> together(said).state, together(said).frames
    ('running', 5)
    """
    if len(reports) == 1:
        return reports[0]
    worst = min(reports, key=lambda report: _STATES.index(report.state) if report.state in _STATES else -1)
    return replace(
        worst,
        at=max(report.at for report in reports),
        frames=sum(report.frames for report in reports),
        quarantined=sum(report.quarantined for report in reports),
        lag=sum(report.lag for report in reports),
    )


def _failure(found: dict[str, Any]) -> FailureSeen:
    return FailureSeen(
        reason=str(found.get("reason", "StageFailed")),
        message=str(found.get("message", "")),
        hint=str(found.get("hint", "")),
        retryable=found.get("retryable") is True,
        exit_code=_count(found.get("exit_code", 1)),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value >= 0 else 0


def _json(value: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(value) if value else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
