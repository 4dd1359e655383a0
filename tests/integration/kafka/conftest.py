"""Tests over a real broker: the fixtures ``broker`` and ``make_broker`` stand one folder above."""

from __future__ import annotations

import itertools
import uuid
from importlib.util import find_spec

import pytest

MISSING = find_spec("confluent_kafka") is None
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(
            "NOT RUN: tests/integration/kafka (confluent-kafka is not installed)", red=True
        )


_count = itertools.count()


@pytest.fixture
def run() -> str:
    """A run's id that nobody had before."""
    return f"test{next(_count)}-{uuid.uuid4().hex[:8]}"
