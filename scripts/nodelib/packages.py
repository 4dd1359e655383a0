"""What goes into each image: packages from the lock, fetched on this machine and not in the image."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kubelib.errors import KubeFailed

ROOT = Path(__file__).parents[2]
SECONDS = 1800
PLATFORM = "x86_64-manylinux_2_28"


@dataclass(frozen=True)
class Recipe:
    """One image of ours.

    Args:
        name: Its folder under ``images``.
        extras: Of our own package.
        without: Dependencies that this image's programs never load, and all that only they need.
    """

    name: str
    extras: tuple[str, ...]
    without: tuple[str, ...] = ()


_VISION = ("opencv-python-headless", "pyarrow", "lap", "simplejpeg")
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("stage", ("cpu", "kafka", "services")),
        Recipe("stage-gpu", ("gpu", "kafka", "services")),
        Recipe("operator", ("operator",), (*_VISION, "av", "typer", "rich")),
        Recipe("api", ("api", "operator"), _VISION),
    )
}


def prepare(recipe: Recipe, context: Path, python: str) -> Path:
    """Fill a build context: ``packages/lib``, ``packages/python-version`` and ``install.py``.

    Raises:
        KubeFailed: uv is missing or fails.
    """
    shutil.rmtree(context, ignore_errors=True)
    lib = context / "packages" / "lib"
    lib.mkdir(parents=True)
    (context / "packages" / "python-version").write_text(python + "\n")
    shutil.copy(ROOT / "images" / "install.py", context)
    export = ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--no-header", "-q"]
    export += [word for extra in recipe.extras for word in ("--extra", extra)]
    export += [word for name in recipe.without for word in ("--prune", name)]
    wanted = context / "requirements.txt"
    wanted.write_text(_uv(*export))
    into = ["pip", "install", "-q", "--target", str(lib), "--python-version", python]
    _uv(*into, "--python-platform", PLATFORM, "--only-binary=:all:", "-r", str(wanted))
    wheels = context / "wheels"
    _uv("build", "-q", "--wheel", "--out-dir", str(wheels))
    _uv(*into, "--no-deps", *(str(path) for path in wheels.glob("*.whl")))
    shutil.rmtree(wheels)
    shutil.rmtree(lib / "bin", ignore_errors=True)  # made for this machine's Python
    return context


def _uv(*words: str) -> str:
    ours = ROOT / ".uv" / "bin" / "uv"
    uv = str(ours) if ours.is_file() else shutil.which("uv")
    if uv is None:
        raise KubeFailed("uv is not there (run: make setup)")
    done = subprocess.run(  # noqa: S603
        [uv, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=dict(os.environ),
    )
    if done.returncode != 0:
        raise KubeFailed(f"uv {' '.join(words[:3])} ...:\n{done.stderr[-3000:]}")
    return done.stdout
