"""Which model a name means: a pulled one, a bundled one, or a file of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from posetask.errors import ModelCorrupt, ModelNotInstalled, UnknownModel
from posetask.models.catalogue import DetectorSpec, ModelSpec, PoseSpec
from posetask.models.folder import Pin, Progress, Pulled, Store, Verified, models_folder
from posetask.models.local import describe
from posetask.models.onnxfile import inspect, read_model

__all__ = [
    "DEMO",
    "Pin",
    "Pulled",
    "ResolvedModel",
    "Store",
    "Verified",
    "installed",
    "models_folder",
    "pull",
    "resolve_detector",
    "resolve_pose",
    "verify",
]

S = TypeVar("S", bound=ModelSpec)
S_co = TypeVar("S_co", bound=ModelSpec, covariant=True)

DEMO = "demo"
"""The set of bundled models; ``demo/<kind>.onnx`` with its note ``<kind>.onnx.yaml`` in this package."""


@dataclass(frozen=True, slots=True)
class ResolvedModel(Generic[S_co]):
    """A model to load: how to use it, where it is, and the sha256 that the file must have."""

    spec: S_co
    path: Path
    sha256: str


def pull(names: Iterable[str] = (), *, progress: Progress | None = None, **options: bool) -> list[Pulled]:
    """Fetch models into this user's folder; see :meth:`Store.pull`."""
    return Store().pull(names, progress=progress, **options)


def verify(names: Iterable[str] = ()) -> list[Verified]:
    """Hold this user's models against their digests; see :meth:`Store.verify`."""
    return Store().verify(names)


def installed() -> list[str]:
    """Name the catalogue's models that this user has."""
    return Store().installed()


def resolve_detector(
    name_or_path: str | None = None, *, store: Store | None = None
) -> ResolvedModel[DetectorSpec]:
    """Which detector is meant.

    Args:
        name_or_path: A name of the catalogue, ``demo``, or the path of an .onnx file; None: the best
            pulled one.
        store: None: this user's.

    Raises:
        UnknownModel: Neither a name nor a file, or a pose estimator's name.
        ModelNotInstalled: Known, but not on this machine.
        ModelCorrupt, ModelContract: The file is not what it has to be.
        InvalidParameters: The note beside a local file is wrong.
    """
    return _resolve(DetectorSpec, name_or_path, store or Store(), "detector")


def resolve_pose(name_or_path: str | None = None, *, store: Store | None = None) -> ResolvedModel[PoseSpec]:
    """Which pose estimator is meant; as :func:`resolve_detector`."""
    return _resolve(PoseSpec, name_or_path, store or Store(), "pose")


def _resolve(kind: type[S], name_or_path: str | None, store: Store, what: str) -> ResolvedModel[S]:
    if name_or_path is None:
        here = [
            spec for spec in store.catalogue if isinstance(spec, kind) and store.path(spec.name).is_file()
        ]
        if not here:
            raise ModelNotInstalled(
                f"no {what} model is on this machine",
                hint="posetask models pull fetches a pair; --models demo uses the small bundled ones",
            )
        return _installed(max(here, key=lambda spec: spec.rank), store)
    if name_or_path == DEMO:
        return _demo(kind, what)
    if name_or_path in store.catalogue:
        spec = (
            store.catalogue.detector(name_or_path)
            if kind is DetectorSpec
            else store.catalogue.pose(name_or_path)
        )
        assert isinstance(spec, kind)  # noqa: S101 - for the type checker
        return _installed(spec, store)
    path = Path(name_or_path).expanduser()
    if not path.exists():
        raise UnknownModel(
            f"{name_or_path} is neither a model of the catalogue nor a file",
            hint="posetask models list shows the names",
        )
    return _local(kind, path)


def _installed(spec: S, store: Store) -> ResolvedModel[S]:
    path = store.path(spec.name)
    if not path.is_file():
        raise ModelNotInstalled(
            f"the model {spec.name} is not on this machine", hint=f"posetask models pull {spec.name}"
        )
    # The session reads the file once and holds it against this digest.
    sha256 = store.expected(spec.name)
    if sha256 is None:
        raise ModelCorrupt(
            f"{path} was not put there by posetask models pull, and no digest of it is known",
            hint=f"posetask models pull {spec.name}, or name the file by its path",
        )
    return ResolvedModel(spec, path, sha256)


def _demo(kind: type[S], what: str) -> ResolvedModel[S]:
    path = Path(__file__).parent / DEMO / f"{what}.onnx"
    if not path.is_file():
        raise ModelNotInstalled(
            "the bundled demo models are not part of this build",
            hint="posetask models pull fetches real ones",
        )
    return _local(kind, path)


def _local(kind: type[S], path: Path) -> ResolvedModel[S]:
    data = read_model(path)
    sha256 = hashlib.sha256(data).hexdigest()
    return ResolvedModel(describe(kind, path, inspect(data, path.name), sha256), path, sha256)
