"""Logs: a line of JSON each, bound to the task that is being worked on."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

_task: ContextVar[dict[str, str] | None] = ContextVar("posetask_task", default=None)


@contextmanager
def bound(**facts: str) -> Iterator[None]:
    """Every line logged inside carries these facts, for example ``namespace``, ``task`` and ``run``.

    >>> with bound(task="demo"):
    ...     line = Lines().format(logging.LogRecord("x", 20, "", 0, "hello %s", ("you",), None))
    >>> json.loads(line)["message"], json.loads(line)["task"]
    ('hello you', 'demo')
    """
    mark = _task.set({**(_task.get() or {}), **facts})
    try:
        yield
    finally:
        _task.reset(mark)


class Lines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, the task's facts, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(_task.get() or {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log there, from now on.

    Args:
        level: debug, info, warning or error.
        stream: Where lines go; None: standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel("WARNING")  # a line for every event of every object, else
    logging.getLogger("kopf._core.reactor.running").setLevel("ERROR")  # it misses signals that are ours
    logging.getLogger("httpx").setLevel("WARNING")
