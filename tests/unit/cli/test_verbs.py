"""The root command: it lists its verbs without loading them, and loads the one that is called."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import posetask
from posetask.cli.main import VERBS, app

HEAVY = {
    "numpy",
    "cv2",
    "av",
    "onnxruntime",
    "pyarrow",
    "pydantic",
    "yaml",
    "httpx",
    "matplotlib",
    "scipy",
    "lap",
}


def loaded_by(*arguments: str) -> set[str]:
    """Heavy packages in a fresh interpreter after ``posetask`` with these arguments."""
    script = (
        "import sys, atexit\n"
        "from posetask.cli.main import main\n"
        f"sys.argv = ['posetask', *{arguments!r}]\n"
        "atexit.register(lambda: print('\\nloaded', *{name.partition('.')[0] for name in sys.modules}))\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=50
    )
    assert "loaded" in done.stdout
    return HEAVY & set(done.stdout.rpartition("loaded ")[2].split())


@pytest.mark.parametrize("arguments", [("--version",), ("--help",)])
def test_the_root_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments) == set()


def test_a_verb_loads_what_it_needs_and_no_more() -> None:
    assert loaded_by("models", "list", "--help") & {"pyarrow", "httpx", "av", "cv2", "onnxruntime"} == set()
    assert loaded_by("track", "--help") >= {"numpy", "lap"}


@pytest.mark.parametrize("name", VERBS)
def test_the_list_says_of_each_verb_what_its_own_help_says(name: str) -> None:
    command = VERBS[name].load(name)
    assert command.name == name
    assert " ".join(str(command.help).split("\n\n")[0].split()) == VERBS[name].help


def test_every_verb_stands_in_the_help_and_answers_for_itself() -> None:
    listed = CliRunner().invoke(app, ["--help"])
    assert listed.exit_code == 0
    for name in VERBS:
        assert f"│ {name} " in listed.output
        own = CliRunner().invoke(app, [name, "-h"])
        assert own.exit_code == 0
        assert f" {name} " in own.output.partition("Options")[0]


def test_version_and_unknown_verbs() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"posetask {posetask.__version__}\n"
    unknown = CliRunner().invoke(app, ["modls"])
    assert unknown.exit_code == 2
    assert "Did you mean 'models'?" in unknown.output
