"""A real broker for this folder's tests: ``POSETASK_KAFKA``, or one of our own for the session."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "kafka"
MISSING = find_spec("confluent_kafka") is None
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kafka: needs a Kafka broker (Java and Maven, or POSETASK_KAFKA)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(
            "NOT RUN: tests/integration/kafka (confluent-kafka is not installed)", red=True
        )


@dataclass(frozen=True)
class Broker:
    """A running broker; ``folder`` is None for one that is not ours."""

    bootstrap: str
    folder: Path | None

    def command(self, *arguments: str) -> str:
        assert self.folder is not None
        return run_script(*arguments, "--dir", str(self.folder))

    @property
    def pid(self) -> int:
        assert self.folder is not None
        return int((self.folder / "pid").read_text())


def run_script(*arguments: str) -> str:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(
            f"no Kafka broker: {done.stderr.strip()[:300]} (run: make setup-real, or set POSETASK_KAFKA)"
        )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def make_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Broker]]:
    """Starts a broker of one's own; all are stopped at the end."""
    folders: list[Path] = []

    def make(*settings: str) -> Broker:
        folder = tmp_path_factory.mktemp("kafka")
        folders.append(folder)
        options = [part for setting in settings for part in ("--set", setting)]
        # A pytest that is killed hard stops nothing itself.
        tied = ("--with-process", str(os.getpid()))
        return Broker(run_script("start", "--dir", str(folder), *tied, *options), folder)

    yield make
    for folder in folders:
        subprocess.run([sys.executable, SCRIPT, "stop", "--dir", folder], capture_output=True, timeout=120)


@pytest.fixture(scope="session")
def broker(make_broker: Callable[..., Broker]) -> Broker:
    """The session's broker: every test makes names of its own."""
    given = os.environ.get("POSETASK_KAFKA")
    return Broker(given, None) if given else make_broker()


_count = itertools.count()


@pytest.fixture
def run() -> str:
    """A run's id that nobody had before."""
    return f"test{next(_count)}-{uuid.uuid4().hex[:8]}"
