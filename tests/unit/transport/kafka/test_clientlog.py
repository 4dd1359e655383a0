"""Lines of the Kafka clients: the first at once, the others counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from posetask.transport.kafka.clientlog import ClientLog

LINE = "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to ipv4#a:1 failed: Connection refused"


@dataclass
class Fault:
    code: str

    def name(self) -> str:
        return self.code

    def str(self) -> str:
        return "something happened"

    def retriable(self) -> bool:
        return False


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def log(now: list[float]) -> ClientLog:
    return ClientLog(logging.getLogger("test.kafka"), 10.0, lambda: now[0])


def test_a_thousand_refused_connections_are_two_lines(
    log: ClientLog, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(1000):
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", f"c-{i % 7}", f"{LINE} (after {i}ms in state CONNECT)")
    log.error(Fault("_ALL_BROKERS_DOWN"))
    assert [r.getMessage() for r in caplog.records] == [
        "kafka: a:1/bootstrap: Connect to ipv4#a:1 failed: Connection refused"
    ]
    now[0] += 12
    log.error(Fault("_TRANSPORT"))
    assert caplog.messages[1:] == ["kafka: something happened (_TRANSPORT); 1000 more like it in 12 s"]
    first, last = caplog.records
    assert (first.levelname, first.__dict__["kafka_client"]) == ("WARNING", "c-0")
    assert (last.__dict__["kafka_kind"], last.__dict__["kafka_folded"]) == ("connection", 1000)


def test_another_kind_is_said_at_once_and_at_its_own_level(
    log: ClientLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.log(logging.WARNING, "%s [%s] %s", "FAIL", "c", LINE)
    log.log(logging.CRITICAL, "%s [%s] %s", "FATAL", "c", "the end")
    log.error(Fault("TOPIC_AUTHORIZATION_FAILED"))
    assert [(r.levelname, r.getMessage()) for r in caplog.records[1:]] == [
        ("CRITICAL", "kafka: the end"),
        ("WARNING", "kafka: something happened (TOPIC_AUTHORIZATION_FAILED)"),
    ]


def test_a_line_of_another_shape_is_passed_on(log: ClientLog, caplog: pytest.LogCaptureFixture) -> None:
    log.log(logging.WARNING, "no arguments")
    log.log(logging.WARNING, "one %s", "argument")
    assert caplog.messages == ["kafka: no arguments", "kafka: one argument"]
