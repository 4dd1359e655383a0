"""Stage processes on this machine: started, watched, and started anew where that can help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from posetask.errors import PoseTaskError, StageFailed
from posetask.runtime.nursery import Nursery, Nursling
from posetask.runtime.reports import Failure, error_of, process_key
from posetask.runtime.stagespec import StageProcessSpec

MOST_STARTS = 6
"""Starts in a row without one frame more; a frame that kills its process takes four."""
COMMAND = (sys.executable, "-m", "posetask")
"""What ``stage NAME …`` is said to."""
_TAIL = 600
_OURS = "POSETASK_STAGE_"


class Child:
    """The process of one stage.

    Args:
        spec: What it does.
        folder: For its specification, its log and its last words.
        environment: How it reaches the brokers; over ours.
        command: See :data:`COMMAND`.
        nursery: Starts it, instead of ``command``; open by then.

    Attributes:
        name: The stage's, with the number of a replica that is not alone.
        starts: How often it was started.
    """

    def __init__(
        self,
        spec: StageProcessSpec,
        folder: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = COMMAND,
        nursery: Nursery | None = None,
    ) -> None:
        self.name = process_key(spec.stage, spec.replica, spec.replicas)
        self.starts = 0
        self._in_a_row, self._frames = 0, 0
        self._spec = folder / f"{self.name}.json"
        self._log, self._last_words = folder / f"{self.name}.log", folder / f"{self.name}.last"
        self._spec.write_text(spec.model_dump_json(exclude_defaults=True))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._environment = inherited | {**environment, "POSETASK_TERMINATION_LOG": str(self._last_words)}
        self._command, self._nursery = command, nursery
        self._arguments = (
            "stage",
            spec.stage,
            "--spec",
            str(self._spec),
            "--listen",
            "127.0.0.1:0",
            "--with-parent",
        )
        self._process: subprocess.Popen[bytes] | Nursling | None = None

    @property
    def pid(self) -> int | None:
        """Of the process while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def done(self) -> bool:
        """It came to the end of the stream."""
        return self._process is not None and self._process.poll() == 0

    def start(self, frames: int = 0) -> None:
        """Start it; ``frames`` are done already.

        Raises:
            StageFailed: The nursery cannot.
        """
        self._in_a_row = self._in_a_row + 1 if frames <= self._frames else 1
        self._frames = max(self._frames, frames)
        self.starts += 1
        self._last_words.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            if self._nursery is not None:
                self._process = self._nursery.start(self._arguments, self._environment, self._log)
                return
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, *self._arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the parent's: it ends the stream in order
            )

    def failure(self) -> PoseTaskError | None:
        """Why it cannot go on; None while it lives, is done, or may be started anew."""
        code = self._process.poll() if self._process is not None else None
        if code is None or code == 0:
            return None
        said = self._read_last_words()
        if said is not None and not said.retryable:
            return error_of(said)
        if self._in_a_row < MOST_STARTS:
            return None
        if said is not None:
            return error_of(said)
        how = f"died of signal {-code}" if code < 0 else f"ended with {code}"
        where = f"{self._in_a_row} times in a row at frame {self._frames}"
        return StageFailed(
            f"stage {self.name} {how} {where}: {self._tail()}",
            hint="memory is the usual reason; posetask run without --kafka shows where it is",
        )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> bool:
        """End it in the middle of what it does; whether that hit a process at work."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return process.wait(10) == -signal.SIGKILL

    def _read_last_words(self) -> Failure | None:
        try:
            return Failure.model_validate_json(self._last_words.read_text())
        except (OSError, ValidationError):
            return None

    def _tail(self) -> str:
        text = self._log.read_bytes()[-_TAIL:].decode(errors="replace")
        return " / ".join(text.split("\n")[-4:]).strip() or "it said nothing"


def end_all(children: list[Child], seconds: float) -> None:
    """Ask all to leave, and see to it."""
    for child in children:
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(child.pid for child in children):
        if time.monotonic() > deadline:
            for child in children:
                child.send(signal.SIGKILL)
        time.sleep(0.02)
