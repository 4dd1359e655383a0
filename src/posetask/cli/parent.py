"""A process that is of no use without the one that started it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable


def watch_parent(leave: Callable[[], None]) -> None:
    """Call ``leave`` once when the parent process ends; returns at once."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        leave()

    threading.Thread(target=watch, name="parent", daemon=True).start()
