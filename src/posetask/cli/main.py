"""``posetask``: one verb a module."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import posetask
from posetask.cli import console
from posetask.cli.console import INTERRUPTED, show_error
from posetask.cli.lazy import Verb, add_verbs, lazy_group
from posetask.errors import PoseTaskError

VERBS = {
    "run": Verb(
        "posetask.cli.run",
        "run",
        "Find, pose and track the people in IN; leave an annotated video and data.",
    ),
    "demo": Verb(
        "posetask.cli.demo",
        "demo",
        "Render synthetic people, find, pose and track them with the bundled models, compare with the truth.",
    ),
    "render": Verb(
        "posetask.cli.render", "render", "Draw POSES on VIDEO again: other options, no inference."
    ),
    "track": Verb(
        "posetask.cli.track", "track", "Give detections identities with ByteTrack; no video is needed."
    ),
    "synth": Verb(
        "posetask.cli.synth",
        "synth",
        "Render people who walk, run, wave, sit, squat and turn; leave the clip and what is true of it.",
    ),
    "serve": Verb(
        "posetask.cli.serve", "serve", "Serve the REST API on this machine: uploads in, annotated videos out."
    ),
    "stage": Verb("posetask.cli.stage", "stage", "Run one stage of one run over Kafka, as a Job's pod does."),
    "fused": Verb(
        "posetask.cli.fused",
        "fused",
        "Run all stages of one run in this process, as a Fused task's pod does.",
    ),
    "service": Verb(
        "posetask.cli.service",
        "service",
        "Keep one stage resident: its model loaded once, many tasks, asked by REST.",
    ),
    "services": Verb(
        "posetask.cli.services",
        "app",
        "Start the resident services of all stages, and work videos with them.",
    ),
    "eval": Verb(
        "posetask.cli.evaluate",
        "evaluate",
        "Score people, poses and tracks against truth: AP, precision, recall, OKS-AP, MOTA, IDF1, HOTA.",
    ),
    "doctor": Verb(
        "posetask.cli.doctor", "doctor", "Check this machine and say how to mend what is missing."
    ),
    "models": Verb("posetask.cli.models", "app", "List, fetch and verify models."),
}
"""The verbs by name, in the order of the help."""

app = typer.Typer(
    name="posetask",
    cls=lazy_group(VERBS),
    help="Videos in, tracked human poses out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_verbs(app, VERBS)


def _version(wanted: bool) -> None:
    if wanted:
        console.out.print(f"posetask {posetask.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Videos in, tracked human poses out."""


def main() -> None:
    """Entry point: every error of the tree ends as one clear message and its own exit code."""
    try:
        app()
    except PoseTaskError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
