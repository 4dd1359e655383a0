"""The examples, as a person applies them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted((Path(__file__).parents[4] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_api_server_takes_an_example(api: Any, kubectl: Any, path: Path) -> None:
    said = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", path)
    assert said.stderr == ""
    assert said.stdout.startswith("posetask.posetask.io/")
    assert said.stdout.endswith(" created (server dry run)\n")
