"""A server process with a pid file and a log: found again by another call, never mistaken for a stranger."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubelib.errors import KubeFailed

STOP_SECONDS = 20
TIE = Path(__file__).with_name("tie.py")
TAIL = 3000


class Process:
    """One program, run in a folder of its own.

    Args:
        name: Of its log and pid file.
        folder: Where these lie. A path below it must stand in the command: by that it is known again.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._file = folder / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running program; a pid file left by a crash names nobody, or somebody else."""
        if self._child is not None:  # /proc names a child only some time after its exec
            return self._child.pid if self._child.poll() is None else None
        try:
            pid = int(self._file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self.folder).encode() in command else None

    def start(
        self, command: Sequence[str | Path], tied: bool, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it where it does not run.

        Args:
            command: The program and its options.
            tied: It dies with this process, whatever ends that one; else it outlives it.
            environment: Instead of the caller's.
        """
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        prefix = [sys.executable, "-S", str(TIE), str(os.getpid())] if tied else []
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603
                [*prefix, *(str(part) for part in command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the caller, who stops it in order
                cwd=self.folder,
                env=None if environment is None else dict(environment),
            )
        self._file.write_text(f"{self._child.pid}\n")

    def stop(self, sign: int = signal.SIGTERM) -> bool:
        """Ask it to end, and see to it; False where it did not run."""
        pid = self.pid
        if pid is not None:
            self._signal(pid, sign)
            deadline = time.monotonic() + STOP_SECONDS
            while self.pid is not None:
                if time.monotonic() > deadline:
                    self._signal(pid, signal.SIGKILL)
                    deadline = time.monotonic() + STOP_SECONDS
                time.sleep(0.02)
        if self._child is not None:
            self._child.wait(STOP_SECONDS)
            self._child = None
        self._file.unlink(missing_ok=True)
        return pid is not None

    def signal(self, sign: int) -> None:
        """Send a signal, e.g. SIGSTOP to freeze it.

        Raises:
            KubeFailed: It does not run.
        """
        pid = self.pid
        if pid is None:
            raise KubeFailed(f"{self.name} does not run; {self.tail()}")
        self._signal(pid, sign)

    def tail(self) -> str:
        """The end of its log, with the path."""
        try:
            said = self.log.read_text(errors="replace")[-TAIL:]
        except OSError:
            said = "(nothing)\n"
        return f"its log {self.log} ends with\n{said}"

    @staticmethod
    def _signal(pid: int, sign: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
