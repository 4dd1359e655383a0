"""helm itself on the chart of the checkout, and what it renders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

ROOT = Path(__file__).parents[4]
CHART = ROOT / "charts" / "posetask"
SYSTEM = "posetask-system"

Object = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]

VALUES: dict[str, tuple[str, ...]] = {
    "dev": ("values-dev.yaml",),
    "dev-gpu": ("values-dev.yaml", "values-gpu.yaml"),
    "prod": ("values-prod.yaml",),
    "prod-gpu": ("values-prod.yaml", "values-gpu.yaml"),
}
"""The values files, as people lay them over each other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kube)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm, with a home of its own."""
    from kubelib.tools import find

    program = find("helm")
    if program is None:
        pytest.skip("helm not built (run: make kube-build ARGS=helm)")
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str | Path, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath, "HOME": str(home)}
        if kubeconfig is not None:
            environment["KUBECONFIG"] = str(kubeconfig)
        return subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, env=environment
        )

    return run


@pytest.fixture(scope="session")
def template(helm: Helm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``template("dev", "--set", "a=b")``: helm template with one of ``VALUES``; or with none."""

    def run(name: str | None, *more: str) -> subprocess.CompletedProcess[str]:
        files = [word for file in VALUES.get(name or "", ()) for word in ("-f", CHART / file)]
        return helm("template", "posetask", CHART, "-n", SYSTEM, *files, *more)

    return run


@pytest.fixture(scope="session")
def rendered(template: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., list[Object]]:
    """The same, as objects."""

    @cache
    def text(name: str | None, *more: str) -> str:
        said = template(name, *more)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def render(name: str | None, *more: str) -> list[Object]:
        return [one for one in yaml.load_all(text(name, *more), Loader) if one]

    return render


@pytest.fixture(params=list(VALUES))
def values(request: pytest.FixtureRequest) -> str:
    """Each of ``VALUES``."""
    return str(request.param)
