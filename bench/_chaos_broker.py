"""The broker of the chaos run: of its own folder, killed on purpose, and started again on the same data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

KAFKA = Path(__file__).parents[1] / "scripts" / "kafka"


class Broker:
    """A broker that ends with this process.

    Args:
        folder: Of its data, settings and log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = 0
        self.bootstrap = ""

    def start(self) -> None:
        """Start it where it does not run; on the data that is there, at the address that it had."""
        command = [sys.executable, str(KAFKA), "start", "--with-process", str(os.getpid())]
        done = subprocess.run([*command, "--dir", str(self.folder)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"no broker: {done.stderr.strip()}")
        self.bootstrap = done.stdout.strip()
        self.starts += 1

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return int((self.folder / "pid").read_text())

    @property
    def alive(self) -> bool:
        """Whether that process lives."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state not in "ZX"

    def kill(self) -> bool:
        """End it in the middle of what it does."""
        if not self.alive:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            return True
        return False

    def stop(self) -> None:
        """In good order."""
        command = [sys.executable, str(KAFKA), "stop", "--dir", str(self.folder)]
        subprocess.run(command, capture_output=True, check=False)
