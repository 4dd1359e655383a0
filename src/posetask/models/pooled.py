"""What detectors and pose estimators have in common once they are loaded."""

from __future__ import annotations

from posetask.models.catalogue import ModelSpec
from posetask.models.session import LoadedModel
from posetask.models.shared import PoolLease
from posetask.models.store import ResolvedModel
from posetask.telemetry import Timings


class PooledModel:
    """A model of the catalogue in a pool that all users of this process share; thread-safe.

    Args:
        resolved: Which model.
        device: ``auto``, ``cpu`` or ``cuda``.
        sessions: Callers at once on a CPU; None: the cores.
        timings: Where the seconds are booked.
        step: Under which name those of inference are.

    Attributes:
        spec: What the catalogue says of it.

    Raises:
        ModelCorrupt, ModelContract, NotAvailable: As the pool.
    """

    spec: ModelSpec

    def __init__(
        self,
        resolved: ResolvedModel[ModelSpec],
        *,
        device: str,
        sessions: int | None,
        timings: Timings | None,
        step: str,
    ) -> None:
        self.spec = resolved.spec
        self._timings = timings or Timings()
        self._pool = PoolLease(
            resolved.path,
            device=device,
            sessions=sessions,
            sha256=resolved.sha256,
            timings=self._timings,
            step=step,
        )

    @property
    def on_gpu(self) -> bool:
        """True where a GPU does the work."""
        return self._pool.on_gpu

    @property
    def info(self) -> LoadedModel:
        """What really runs."""
        spec = self.spec
        return LoadedModel(
            spec.name, spec.version, self._pool.sha256, self._pool.provider, spec.width, spec.height
        )

    def close(self) -> None:
        """Give it back; the last user frees it."""
        self._pool.close()
