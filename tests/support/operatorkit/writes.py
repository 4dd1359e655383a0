"""Writes: counted, numbered, and named so that the same one is found again in another run."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_UID = re.compile(r"-[0-9a-f]{8}(?=-|\.|_|$)")
_DIGEST = re.compile(r"\.[0-9a-f]{16}$")


@dataclass(frozen=True)
class Write:
    """A request that changes something.

    Attributes:
        number: 1 for the first that the ledger saw.
        what: Verb, resource, name and what tells it from others; without uids.
        nth: Of this ``what``.
        background: It belongs to no task: a lease's renewal.
    """

    number: int
    what: str
    nth: int
    background: bool = False

    @property
    def name(self) -> str:
        """The same in every run.

        >>> Write(7, "create jobs demo-*-yolox-1", 1).name
        'create jobs demo-*-yolox-1 #1'
        """
        return f"{self.what} #{self.nth}"


@dataclass(frozen=True)
class Fault:
    """What happens to one write: ``before``, then the request or an answer of ours, then ``after``.

    Attributes:
        before: Called, on a thread, when the request has arrived and went no further.
        answer: HTTP status (or Kafka error code) instead of the server's; the server never sees the request.
        after: Called when the server has answered and the client knows nothing of it.
        lose: The connection ends instead of an answer.
    """

    before: Callable[[], object] | None = None
    answer: int | None = None
    after: Callable[[], object] | None = None
    lose: bool = False


Choose = Callable[[Write], Fault | None]


class Ledger:
    """All writes of one operator, to the API server and to the brokers. Safe for several threads.

    Args:
        choose: Which write meets which fault; can be replaced at any time.
    """

    def __init__(self, choose: Choose | None = None) -> None:
        self._lock = threading.Lock()
        self._writes: list[Write] = []
        self._seen: Counter[str] = Counter()
        self._open = 0
        self.most_open = 0
        self.choose = choose

    def begin(self, what: str, background: bool = False) -> tuple[Write, Fault | None]:
        """A write has arrived."""
        with self._lock:
            self._seen[what] += 1
            count = sum(not write.background for write in self._writes) + 1
            write = Write(0 if background else count, what, self._seen[what], background)
            self._writes.append(write)
            self._open += not background
            self.most_open = max(self.most_open, self._open)
            choose = self.choose
        return write, None if choose is None else choose(write)

    def end(self, write: Write) -> None:
        """It was answered, or lost."""
        with self._lock:
            self._open -= not write.background

    @property
    def open(self) -> int:
        """Writes that have arrived and are not answered."""
        with self._lock:
            return self._open

    def writes(self, background: bool = False) -> list[Write]:
        """So far, in order of arrival."""
        with self._lock:
            return [write for write in self._writes if write.background is background]

    def clear(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._writes.clear()
            self._seen.clear()


def once(name: str, fault: Fault) -> Choose:
    """The fault for the write of that name, and for no other."""
    return lambda write: fault if write.name == name else None


def plain(name: str) -> str:
    """A name without what is new in every run.

    >>> plain("demo-1f2e3d4c-yolox-1"), plain("raw_frames_demo-1f2e3d4c"), plain("demo.0123456789abcdef")
    ('demo-*-yolox-1', 'raw_frames_demo-*', 'demo')
    """
    return _UID.sub("-*", _DIGEST.sub("", name))


def describe(method: str, target: str, body: Mapping[str, Any] | None) -> tuple[str, bool]:
    """What a request to the API server writes, and whether it belongs to no task.

    >>> describe("DELETE", "/apis/batch/v1/namespaces/a/jobs/demo-1f2e3d4c-yolox-1?x=1", None)
    ('delete jobs demo-*-yolox-1', False)
    >>> status = {"status": {"conditions": [{"type": "Admitted", "status": "True"}]}}
    >>> describe("PUT", "/apis/posetask.io/v1alpha1/namespaces/a/posetasks/demo/status", status)
    ('update posetasks demo status [Admitted]', False)
    """
    parts = urlsplit(target).path.strip("/").split("/")
    rest = parts[3 if parts[0] == "apis" else 2 :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name, *sub = [*rest, *([""] * (2 - len(rest)))][: max(2, len(rest))]
    body = body or {}
    name = name or str((body.get("metadata") or {}).get("name", ""))
    words = [_VERBS.get(method, method.lower()), resource, plain(name), *sub]
    if resource == "events":
        words.append(str(body.get("reason", "")))
    elif sub == ["status"]:
        conditions = (body.get("status") or {}).get("conditions") or []
        words.append("[" + " ".join(c["type"] for c in conditions if c.get("status") == "True") + "]")
    elif "finalizers" in (body.get("metadata") or {}) and method == "PATCH":
        words.append("finalizers=" + str(len(body["metadata"]["finalizers"] or ())))
    return " ".join(word for word in words if word), resource == "leases"
