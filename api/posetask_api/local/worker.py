"""The process of one task: the whole pipeline, embedded; one line of JSON for every word of a stage.

It lives as long as its standard input is open, so a server that is killed leaves no worker behind.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from posetask.errors import PoseTaskError
from posetask.runtime.fused import FUSED, FusedProcess
from posetask.runtime.reports import write_last_words
from posetask.runtime.stagespec import StageProcessSpec

STOPPED = 143
_PATIENCE_SECONDS = 15.0


class _Lines:
    """Words on standard output."""

    def write(self, run: str, stage: str, value: bytes | None) -> None:
        with suppress(OSError):  # nobody listens any more: see _follow_parent
            sys.stdout.buffer.write((value or b"") + b"\n")
            sys.stdout.buffer.flush()

    def close(self) -> None:
        """Every line is out already."""


def main(file: Path) -> int:
    """Work on what ``file`` specifies; returns the exit code."""
    with file.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a worker of a server that was killed may still be leaving
        try:
            process = FusedProcess(StageProcessSpec.load(file, {}, stage=FUSED), _Lines())
            signal.signal(signal.SIGTERM, lambda number, frame: process.stop())
            threading.Thread(target=_follow_parent, args=(process,), daemon=True).start()
            process.run()
        except PoseTaskError as error:
            write_last_words(error)
            return error.exit_code
    return STOPPED if process.state == "stopped" else 0


def _follow_parent(process: FusedProcess) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    process.stop()
    time.sleep(_PATIENCE_SECONDS)
    os._exit(STOPPED)


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # every core has a worker already
    sys.exit(main(Path(sys.argv[1])))
