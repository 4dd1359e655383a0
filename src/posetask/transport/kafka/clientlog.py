"""What librdkafka says of itself, folded: a broker that is away is one line now and then, not thousands.

A process has up to a dozen clients, and each of them reports every attempt to connect, several a second.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from posetask.transport.kafka.faults import AWAY, KafkaFault

FOLD_SECONDS = 10.0
_CONNECTION = frozenset({"FAIL", "ERROR", "FAILED", "REQTMOUT", "TERMINATE"})
"""Facilities of librdkafka that speak of a connection."""
_PREFIX = re.compile(r"^\[thrd:[^]]*\]: (?:[\w.-]+: )?")
_COUNTERS = re.compile(r" \(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)$")


@dataclass(slots=True)
class _Kind:
    said_at: float
    folded: int = 0


class ClientLog:
    """A logger for confluent-kafka's ``logger``, and for its ``error_cb``.

    The first line of a kind is said at once; those that follow within ``seconds`` are counted, and the next
    one after that says how many there were.

    Args:
        logger: Where lines go. Records carry ``kafka_client``, ``kafka_kind`` and ``kafka_folded``.
        seconds: Between two lines of a kind.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        logger: logging.Logger,
        seconds: float = FOLD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger, self._seconds, self._clock = logger, seconds, clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def log(self, level: int, template: str, *args: object) -> None:
        """A line of a client: ``facility [client] text``, from whichever thread serves it."""
        if len(args) != 3:
            self._say(level, template, "", template % args)
            return
        facility, client, text = (str(arg) for arg in args)
        kind = "connection" if facility in _CONNECTION else facility
        self._say(logging.WARNING if kind == "connection" else level, kind, client, _plain(text))

    def error(self, error: KafkaFault) -> None:
        """What a client's error callback is told."""
        name = error.name()
        kind = "connection" if name in AWAY else name
        self._say(logging.WARNING, kind, "", f"{_plain(error.str())} ({name})")

    def _say(self, level: int, kind: str, client: str, text: str) -> None:
        now = self._clock()
        with self._lock:
            known = self._kinds.get(kind)
            if known is not None and now - known.said_at < self._seconds:
                known.folded += 1
                return
            folded, since = (known.folded, now - known.said_at) if known is not None else (0, 0.0)
            self._kinds[kind] = _Kind(now)
        more = f"; {folded} more like it in {since:.0f} s" if folded else ""
        extra = {"kafka_client": client, "kafka_kind": kind, "kafka_folded": folded}
        self._logger.log(level, "kafka: %s%s", text, more, extra=extra)


def _plain(text: str) -> str:
    """Without the thread, and what differs from one attempt to the next.

    >>> _plain("[thrd:a:1/1]: a:1/1: Connect to ipv4#a:1 failed: refused (after 0ms in state CONNECT)")
    'a:1/1: Connect to ipv4#a:1 failed: refused'
    """
    return _COUNTERS.sub("", _PREFIX.sub("", text, count=1))


CLIENT_LOG: Final = ClientLog(logging.getLogger("posetask.kafka"))
"""Of all clients of this process."""
