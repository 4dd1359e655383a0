"""One flag for everything of a bus that waits: who stops, and why."""

from __future__ import annotations

import threading

from posetask.transport.bus import Cancelled

SLICE_SECONDS = 0.1
"""Nobody waits longer than this without looking at the flag."""


class Stop:
    """Set once; the first cause wins."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._cause: BaseException | None = None

    def set(self, cause: BaseException | None = None) -> None:
        """Stop everyone."""
        if not self._event.is_set():
            self._cause = cause
            self._event.set()

    def check(self) -> None:
        """Raise :class:`Cancelled` where it is set."""
        if self._event.is_set():
            raise Cancelled("the run was stopped") from self._cause

    def wait(self, seconds: float) -> None:
        """Sleep, but not through a stop.

        Raises:
            Cancelled: It was set, before or meanwhile.
        """
        self._event.wait(seconds)
        self.check()
