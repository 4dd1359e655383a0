"""docs/posetask.md: what it shows of kubectl is what kubectl prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "posetask.md").read_text()
COMMAND = re.compile(r"^\$ kubectl (.*)$")


def shown() -> list[tuple[str, list[str]]]:
    """Every command of the page, and the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            command = COMMAND.match(line)
            if command:
                found.append((command[1], []))
            else:
                found[-1][1].append(line)
    return found


def test_the_page_shows_what_kubectl_prints(kubectl: Any, make_namespace: Any, tmp_path: Path) -> None:
    namespace = make_namespace()
    manifests = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for text in manifests:
        (tmp_path / f"{yaml.safe_load(text)['metadata']['name']}.yaml").write_text(text)
    demo = kubectl("apply", "-n", namespace, "-f", ROOT / "examples" / "01-demo.yaml")
    assert demo.returncode == 0, demo.stderr
    commands = shown()
    assert len(commands) >= 5
    for command, lines in commands:
        words = [str(tmp_path / word) if word.endswith(".yaml") else word for word in shlex.split(command)]
        where = [] if words[0] == "explain" else ["-n", namespace]
        said = kubectl(*words, *where)
        printed = (said.stdout + said.stderr).splitlines()
        assert plain(printed) == plain(lines), command


def plain(lines: list[str]) -> list[str]:
    """Without empty lines and what blanks may differ in."""
    return [" ".join(line.split()) for line in lines if line.strip()]


def test_the_first_manifest_of_the_page_is_taken(kubectl: Any, make_namespace: Any) -> None:
    (first, *_) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    said = kubectl("apply", "-n", make_namespace(), "-f", "-", given=first)
    assert said.stdout == "posetask.posetask.io/lobby created\n", said.stderr
