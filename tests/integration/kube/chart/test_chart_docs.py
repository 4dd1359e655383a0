"""docs/chart.md: what it shows of helm is what helm says, and it names every alert."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "chart.md").read_text()


def test_the_page_shows_what_helm_says_of_a_wrong_key(template: Callable[..., Any]) -> None:
    (shown,) = re.findall(r"\$ helm template posetask charts/posetask (.*?)\n(.*?)```", PAGE, re.DOTALL)
    said = template(None, *shown[0].split())
    assert said.stderr.strip() == shown[1].strip()


def test_the_page_shows_the_notes_that_an_installation_prints(
    helm: Any, cluster: Any, tmp_path: Path
) -> None:
    (shown,) = re.findall(r"\nNOTES:\n(.*?)```", PAGE, re.DOTALL)
    chart = ROOT / "charts" / "posetask"
    said = helm(
        *("install", "posetask", chart, "-n", "posetask-system", "-f", chart / "values-dev.yaml"),
        *("--dry-run=client", "--hide-secret"),
        kubeconfig=cluster.kubeconfig,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.partition("NOTES:\n")[2].strip() == shown.strip()


def test_every_alert_stands_in_the_page() -> None:
    rules = yaml.safe_load((ROOT / "charts" / "posetask" / "files" / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"| `{rule['alert']}` ({rule['labels']['severity']}) |" in PAGE


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", PAGE))
def test_a_link_of_the_page_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()
