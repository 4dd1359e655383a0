"""Models of this process, loaded once: many tasks use one :class:`SessionPool`, the last one frees it.

A resident service keeps a few beyond their last user (:func:`keep_unused`): the next task finds them loaded.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from posetask.models.session import Floats, SessionPool
from posetask.telemetry import Timings

_Key = tuple[object, ...]


@dataclass(eq=False, slots=True)
class _Entry:
    """A pool, or one that is being loaded; ``users`` is guarded by the registry's lock."""

    loading: threading.Lock = field(default_factory=threading.Lock)
    pool: SessionPool | None = None
    users: int = 0


_lock = threading.RLock()  # a lease may be collected while its own thread holds it
_entries: dict[_Key, _Entry] = {}
_kept: list[_Key] = []  # without a user, the longest unused first
_most_kept = 0


class PoolLease:
    """One user's share of a pool; it has the pool's face.

    Leases of the same file, device and number of sessions share one pool, so the weights are in memory once
    and ``sessions`` bounds all users together. A file that was replaced meanwhile is another file.

    Args:
        path: The .onnx file.
        device: ``auto``, ``cpu`` or ``cuda``.
        sessions: Callers at once on a CPU; None: the cores.
        sha256: What the file must have; None: anything.
        timings: Where this user's seconds of inference are booked.
        step: Under which name.

    Raises:
        ModelError, NotAvailable: As :class:`SessionPool`.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        sessions: int | None,
        sha256: str | None,
        timings: Timings,
        step: str,
    ) -> None:
        key: _Key = (*_identity(path), sha256, device, sessions)
        self._timings, self._step = timings, step
        with _lock:
            entry = _entries.setdefault(key, _Entry())
            entry.users += 1
            if key in _kept:
                _kept.remove(key)
        self._leave = weakref.finalize(
            self, _leave, key
        )  # whoever forgets to close does not keep it for ever
        self._leave.atexit = False
        try:
            with entry.loading:
                if entry.pool is None:
                    entry.pool = SessionPool(path, device=device, sessions=sessions, sha256=sha256)
        except BaseException:
            self._leave()
            raise
        self._pool = entry.pool

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self._pool.sha256

    @property
    def provider(self) -> str:
        """The execution provider that is really active."""
        return self._pool.provider

    @property
    def fixed_batch(self) -> int | None:
        """The graph's batch size, None where it is free."""
        return self._pool.fixed_batch

    @property
    def max_batch(self) -> int:
        """Largest batch that :meth:`run` takes."""
        return self._pool.max_batch

    @property
    def on_gpu(self) -> bool:
        """True where a GPU does the work."""
        return self._pool.on_gpu

    def padded(self, n: int) -> int:
        """As :meth:`SessionPool.padded`."""
        return self._pool.padded(n)

    def run(self, inputs: Floats) -> list[Floats]:
        """As :meth:`SessionPool.run`, booked for this user."""
        if not self._leave.alive:
            raise RuntimeError("this user of the model is closed")
        return self._pool.run(inputs, lambda seconds: self._timings.add(self._step, seconds))

    def probe(self, height: int, width: int) -> list[tuple[str, Floats]]:
        """As :meth:`SessionPool.probe`."""
        return self._pool.probe(height, width)

    def close(self) -> None:
        """Give the share back; the last one frees the weights."""
        self._leave()


def _leave(key: _Key) -> None:
    with _lock:
        entry = _entries[key]
        entry.users -= 1
        if entry.users:
            return
        if entry.pool is not None:
            _kept.append(key)
        else:
            del _entries[key]  # it could not be loaded
    _free_unused()


def keep_unused(most: int) -> None:
    """From now on so many pools stay loaded without a user, those used last; 0: none outlives its users."""
    global _most_kept
    with _lock:
        _most_kept = most
    _free_unused()


def _free_unused() -> None:
    with _lock:
        surplus = [_entries.pop(_kept.pop(0)) for _ in range(len(_kept) - _most_kept)]
    for entry in surplus:
        if entry.pool is not None:
            entry.pool.close()


def loaded() -> int:
    """How many pools this process holds."""
    with _lock:
        return len(_entries)


def _identity(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError:
        return (str(path),)  # the pool says what is wrong with it
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
