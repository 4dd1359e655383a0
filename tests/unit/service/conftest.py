"""Services without a broker: the work of a task is a script, everything around it is real."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from posetask.errors import PoseTaskError
from posetask.runtime.reports import StageReport, State
from posetask.runtime.service import janitor as janitor_module
from posetask.runtime.service import service as service_module
from posetask.runtime.service.app import make_app
from posetask.runtime.service.server import ServiceServer
from posetask.runtime.service.service import StageService
from posetask.runtime.service.settings import ServiceSettings
from posetask.runtime.service.state import TaskRecord
from posetask.telemetry.metrics import StageSample
from posetask.transport.kafka.settings import KafkaSettings

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_ms=100)


class ScriptedWork:
    """Stands where :class:`posetask.runtime.work.StageWork` stands; a test says how it goes."""

    def __init__(self, record: TaskRecord) -> None:
        self.spec = record.spec
        self.state: State = "starting"
        self.error: PoseTaskError | None = None
        self.ready = False
        self.frames = 0
        self.finishing = self.stopping = False
        self._over = threading.Event()

    def run(self) -> None:
        self.ready, self.state = True, "running"
        self._over.wait()
        if self.error is not None:
            self.state = "failed"
            raise self.error

    def end(self, state: State = "done", error: PoseTaskError | None = None) -> None:
        self.error = error
        self.state = state
        self._over.set()

    def stop(self) -> None:
        self.stopping = True
        self.end("stopped")

    cancel = stop

    def finish_early(self) -> bool:
        self.finishing = True
        return True

    def look(self) -> StageReport:
        return StageReport(
            run=self.spec.run, stage=self.spec.stage, instance="i", state=self.state, frames=self.frames
        )

    def sample(self) -> StageSample:
        return StageSample(frames=self.frames, lag={"raw_frames": 2}, read={"raw_frames": 10}, written=5)


class Resident:
    """A service at work, and what it asked of its surroundings."""

    def __init__(self, service: StageService, url: str) -> None:
        self.service, self.url = service, url
        self.works: dict[str, list[ScriptedWork]] = {}

    def work(self, task_id: str) -> ScriptedWork:
        """The newest."""
        wait_for(lambda: self.works.get(task_id))
        return self.works[task_id][-1]


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


class Told:
    """A progress topic in a list."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.words: list[tuple[str, str]] = []

    def write(self, run: str, stage: str, value: bytes | None) -> None:
        self.words.append((run, stage))

    def close(self, seconds: float = 0.0) -> None:
        return


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., None]:
    return wait_for


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Runs whose topics were made, and removed."""
    asked: dict[str, list[str]] = {"made": [], "removed": []}
    monkeypatch.setattr(
        service_module, "make_topics", lambda kafka, stage, request: asked["made"].append(request.task_id)
    )

    def remove(kafka: KafkaSettings, run: str) -> list[str]:
        asked["removed"].append(run)
        return []

    monkeypatch.setattr(janitor_module, "remove_run", remove)
    monkeypatch.setattr(service_module, "ProgressWriter", Told)
    monkeypatch.setattr(service_module, "TURN_SECONDS", 0.01)
    return asked


@pytest.fixture
def open_service(tmp_path: Path, topics: dict[str, list[str]]) -> Iterator[Callable[..., Resident]]:
    """``open_service("bytetrack", token=…)``: listening, its loop running; ended with the test."""
    running: list[tuple[StageService, threading.Thread, ServiceServer]] = []

    def make(stage: str = "bytetrack", **given: Any) -> Resident:
        values = {"stage": stage, "listen": "127.0.0.1:0", "state": tmp_path / stage, "grace_seconds": 1.0}
        settings = ServiceSettings.parse(**{**values, **given})
        server = ServiceServer(settings)
        service = StageService(settings, NOWHERE)
        resident = Resident(service, server.url)

        def make_work(record: TaskRecord) -> Any:
            work = ScriptedWork(record)
            resident.works.setdefault(record.task_id, []).append(work)
            return work

        for task in service._tasks.values():
            task._make_work = make_work
        service._make_work = make_work  # type: ignore[method-assign]
        server.serve(make_app(service))
        thread = threading.Thread(target=service.run, args=(server.url,))
        thread.start()
        running.append((service, thread, server))
        wait_for(lambda: service.ready)
        return resident

    yield make
    for service, thread, server in running:
        service.leave()
        thread.join(20)
        assert not thread.is_alive()
        server.close()
