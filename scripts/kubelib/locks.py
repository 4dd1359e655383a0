"""One at a time, over processes: a file lock that dies with its holder."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubelib.errors import KubeFailed


@contextmanager
def locked(path: Path, seconds: float = 3600) -> Iterator[None]:
    """Hold ``path`` alone; waits for another holder, at most so long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline, told = time.monotonic() + seconds, False
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise KubeFailed(f"another process holds {path} for {seconds:.0f} s") from None
                if not told:
                    told = True
                    print(f"kube: waiting for another process ({path})", file=sys.stderr, flush=True)
                time.sleep(0.2)
        yield
