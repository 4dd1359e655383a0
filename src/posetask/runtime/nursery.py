"""Processes that share one start: one process loads what all stages need, and forks each of them from there.

Most of what a stage's process does before its first frame is to load Python, NumPy, pydantic and the like,
again and again the same. Here it is loaded once. This is the side that asks; the nursery itself is
:mod:`posetask.cli.nursery`. It is told on its standard input, line by line in JSON, what to start, and says
on its standard output which process that became and how it ended. When its input ends, it leaves, and its
children see that their parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from posetask.errors import StageFailed

COMMAND = (sys.executable, "-m", "posetask.cli.nursery")
_START_SECONDS = 180.0
"""Machines that run far more than they have cores for take long to load Python."""


class Nursling:
    """A process that the nursery started; as :class:`subprocess.Popen`, as far as that is needed here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = threading.Event()
        self._code: int | None = None

    def poll(self) -> int | None:
        """How it ended: its exit code, a signal's number below 0; None while it lives."""
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it ended.

        Raises:
            subprocess.TimeoutExpired: It lives on.
        """
        if not self._ended.wait(timeout) or self._code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return self._code

    def kill(self) -> None:
        """End it now."""
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def ended(self, code: int) -> None:
        """Note how."""
        self._code = code
        self._ended.set()


class Nursery:
    """Starts processes of ours, each as ``posetask ARGUMENTS`` would be.

    Args:
        log: For what it says itself; its last lines tell why it cannot start anything.
        environment: Of its own.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log, self._environment = log, dict(environment)
        self._lock = threading.Lock()
        self._answered = threading.Condition()
        self._answers: list[int] = []
        self._nurslings: dict[int, Nursling] = {}
        self._gone = False
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Let it begin to load; returns at once."""
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                COMMAND,
                # A worker for every core is the stages' own rule; these pools are made at loading.
                env={"OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1", **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        threading.Thread(
            target=self._listen, args=(self._process.stdout,), name="nursery", daemon=True
        ).start()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Nursling:
        """Start one; its output goes to the end of ``log``.

        Raises:
            StageFailed: The nursery is gone, or the machine gives no process.
        """
        wish = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        with self._lock, self._answered:
            try:
                if self._gone or self._process is None or self._process.stdin is None:
                    raise OSError
                self._process.stdin.write(json.dumps(wish).encode() + b"\n")
                self._process.stdin.flush()
                if not self._answered.wait_for(lambda: self._answers or self._gone, _START_SECONDS):
                    self._gone = True  # its answer, should it come yet, would be taken for another's
            except OSError:
                self._gone = True
            pid = self._answers.pop() if self._answers else 0
            if pid <= 0:
                raise StageFailed(
                    f"no process for {' '.join(arguments[:2])}: {self._tail() or 'the nursery is gone'}",
                    hint="memory or the limit of processes is the usual reason",
                )
            return self._nurslings[pid]

    def close(self) -> None:
        """Let it go, and what it started, where that watches its parent."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            self._process.wait()

    def _listen(self, words: IO[bytes]) -> None:
        with words:
            for line in words:
                said: dict[str, int] = json.loads(line)
                with self._answered:
                    if "started" in said:
                        pid = said["started"]
                        if pid > 0:
                            self._nurslings[pid] = Nursling(pid)
                        self._answers.append(pid)
                        self._answered.notify_all()
                    elif (child := self._nurslings.pop(said["ended"], None)) is not None:
                        child.ended(said["code"])
        with self._answered:
            self._gone = True
            self._answered.notify_all()
            for child in self._nurslings.values():  # nobody can say how; they leave with their parent
                child.ended(-signal.SIGKILL)

    def _tail(self) -> str:
        with suppress(OSError):
            return " / ".join(self._log.read_text(errors="replace").strip().split("\n")[-3:])
        return ""
