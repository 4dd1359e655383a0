"""Doctests of modules whose packages are missing are left out, and the end of the run says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

_KAFKA = ("bus", "extent", "gate", "groups", "reader", "topics", "writer")

collect_ignore = [
    str(Path(__file__).parent / "posetask" / "transport" / "kafka" / f"{name}.py")
    for name in _KAFKA
    if find_spec("confluent_kafka") is None
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if collect_ignore:
        terminalreporter.write_line(
            "NOT RUN: doctests of transport/kafka (confluent-kafka is not installed)", red=True
        )
