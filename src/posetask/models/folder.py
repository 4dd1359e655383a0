"""Where pulled model files live on this machine, and how they come there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from posetask.errors import DownloadFailed, ModelCorrupt
from posetask.models.catalogue import Catalogue, ModelSpec
from posetask.models.download import fetch, storage_error
from posetask.models.onnxfile import read_model
from posetask.storage.durable import publish, write_durably

Progress = Callable[[str, int, int | None], None]
"""Called with the model's name, bytes so far, and the total if known."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What was seen when a model was pulled; kept beside it as ``<name>.json``."""

    sha256: str
    size: int
    url: str
    pulled: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """What :meth:`Store.pull` did for one model.

    Attributes:
        name: The model's.
        path: Where the file is.
        sha256: Its digest.
        trust: ``catalogue`` (the digest is the catalogue's), ``pinned`` (as pulled before), or
            ``first-use`` (nobody vouches for it: it was pinned as seen).
        fetched: False where the right file was there already.
    """

    name: str
    path: Path
    sha256: str
    trust: Literal["catalogue", "pinned", "first-use"]
    fetched: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A model's state on this machine.

    Attributes:
        name: The model's.
        state: ``ok``; ``missing``; ``wrong`` (another digest than expected); ``unpinned`` (there is a
            file, and no digest to hold it against).
        sha256: Of the file, None where it is missing or unreadable.
        expected: The catalogue's or the pinned digest, None if there is none.
    """

    name: str
    state: Literal["ok", "missing", "wrong", "unpinned"]
    sha256: str | None
    expected: str | None


def models_folder() -> Path:
    """``$POSETASK_MODELS``, or ``posetask/models`` in the XDG cache folder."""
    if named := os.environ.get("POSETASK_MODELS"):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"  # XDG: relative ones are ignored
    return base / "posetask" / "models"


class Store:
    """Pulled models: ``<name>.onnx`` and ``<name>.json`` in one folder. Safe for several processes.

    Args:
        folder: None: :func:`models_folder`.
        catalogue: None: the one that ships.
    """

    def __init__(self, folder: Path | None = None, catalogue: Catalogue | None = None) -> None:
        self.folder = folder or models_folder()
        self.catalogue = catalogue or Catalogue.load()

    def path(self, name: str) -> Path:
        """Where the file of a model is, or would be."""
        return self.folder / f"{self.catalogue.get(name).name}.onnx"

    def installed(self) -> list[str]:
        """Names of the catalogue's models whose file is here, in the catalogue's order."""
        return [spec.name for spec in self.catalogue if self.path(spec.name).is_file()]

    def pin(self, name: str) -> Pin | None:
        """Read what was pinned when the model was pulled; None if nothing (readable) was."""
        try:
            return Pin(**json.loads(self._pin_path(name).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def expected(self, name: str) -> str | None:
        """Say which digest the model's file must have: the catalogue's, else the pinned one."""
        pin = self.pin(name)
        return self.catalogue.get(name).sha256 or (pin.sha256 if pin else None)

    def pull(
        self,
        names: Iterable[str] = (),
        *,
        progress: Progress | None = None,
        force: bool = False,
        repin: bool = False,
        allow_loopback_http: bool = False,
    ) -> list[Pulled]:
        """Fetch models and put them in place, whole and checked, or not at all.

        Args:
            names: Of the catalogue; none: the recommended pair.
            progress: Told as bytes come.
            force: Fetch even what is there.
            repin: Accept a new digest in place of one pinned by an earlier pull; the catalogue's own
                digests always hold.
            allow_loopback_http: For tests only.

        Raises:
            UnknownModel: A name is not in the catalogue; nothing is fetched then.
            DownloadFailed: Retryable; models before the failing one are in place.
            ModelCorrupt: Something else came than expected.
            StorageFull: No space left.
        """
        specs = [self.catalogue.get(name) for name in names]
        specs = specs or [spec for spec in self.catalogue if spec.recommended]
        return [self._pull(spec, progress, force, repin, allow_loopback_http) for spec in specs]

    def verify(self, names: Iterable[str] = ()) -> list[Verified]:
        """Hold files against their digests; no names: all installed ones.

        Raises:
            UnknownModel: A name is not in the catalogue.
        """
        return [self._verify(self.catalogue.get(name).name) for name in names or self.installed()]

    def _verify(self, name: str) -> Verified:
        expected = self.expected(name)
        if not self.path(name).is_file():
            return Verified(name, "missing", None, expected)
        try:
            found = hashlib.sha256(read_model(self.path(name))).hexdigest()
        except ModelCorrupt:  # empty, or no file for us
            return Verified(name, "wrong", None, expected)
        if expected is None:
            return Verified(name, "unpinned", found, None)
        return Verified(name, "ok" if found == expected else "wrong", found, expected)

    def _pull(
        self, spec: ModelSpec, progress: Progress | None, force: bool, repin: bool, loopback: bool
    ) -> Pulled:
        path = self.path(spec.name)
        expected = spec.sha256 if repin else self.expected(spec.name)
        trust: Literal["catalogue", "pinned"] = "catalogue" if spec.sha256 else "pinned"
        if not force and not repin and self._verify(spec.name).state == "ok":
            return Pulled(spec.name, path, str(expected), trust, fetched=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise storage_error(error, self.folder) from None
        url, temporary, sha256 = self._fetch(spec, progress, loopback)
        try:
            if expected is not None and sha256 != expected:
                hint = "it was not installed; a proxy may have changed it, or upstream did"
                if spec.sha256 is None:
                    hint += ": if you trust the new file, posetask models pull --repin"
                raise ModelCorrupt(f"{url} has sha256 {sha256}, expected {expected}", hint=hint)
            # The pin first: a crash between the two leaves a file that verify calls wrong, never an
            # unknown one that passes for right.
            pin = Pin(
                sha256, temporary.stat().st_size, url, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            )
            write_durably(self._pin_path(spec.name), json.dumps(asdict(pin), indent=2).encode() + b"\n")
            temporary.chmod(0o644)
            publish(temporary, path, overwrite=True)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise storage_error(error, self.folder) from None
            raise
        return Pulled(spec.name, path, sha256, trust if expected else "first-use", fetched=True)

    def _fetch(self, spec: ModelSpec, progress: Progress | None, loopback: bool) -> tuple[str, Path, str]:
        failures: list[DownloadFailed] = []
        for url in spec.urls:
            try:
                temporary, sha256 = fetch(
                    url,
                    self.folder,
                    member=spec.member,
                    progress=(lambda done, total: progress(spec.name, done, total)) if progress else None,
                    allow_loopback_http=loopback,
                )
            except DownloadFailed as error:
                failures.append(error)
            else:
                return url, temporary, sha256
        if not failures:
            raise DownloadFailed(f"the catalogue has no address for {spec.name}")
        raise DownloadFailed(
            f"{spec.name} could not be fetched: " + "; ".join(f.message for f in failures),
            hint=failures[-1].hint,
        )

    def _sweep(self) -> None:
        """Remove what killed pulls left; one that is under way is younger than a day."""
        for left in self.folder.glob(".pull-*.tmp"):
            if time.time() - left.stat().st_mtime > 24 * 3600:
                left.unlink(missing_ok=True)

    def _pin_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
