"""``python holder.py FOLDER``: process 1 of the node's namespaces; it reaps, and otherwise waits."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """Say that we are there; then reap what is orphaned, until we are killed."""
    ready = Path(sys.argv[1]) / "holder.ready"
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(0))
    ready.touch()
    try:
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.2)
    finally:
        ready.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
