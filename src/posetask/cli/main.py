"""``posetask``: one verb a module."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import posetask
from posetask.cli.console import INTERRUPTED, out, show_error
from posetask.cli.demo import demo
from posetask.cli.doctor import doctor
from posetask.cli.evaluate import evaluate
from posetask.cli.models import app as models
from posetask.cli.render import render
from posetask.cli.run import run
from posetask.cli.synth import synth
from posetask.cli.track import track
from posetask.errors import PoseTaskError

app = typer.Typer(
    name="posetask",
    help="Videos in, tracked human poses out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(demo)
app.command()(render)
app.command()(track)
app.command()(synth)
app.command("eval")(evaluate)
app.command()(doctor)
app.add_typer(models, name="models", help="List, fetch and verify models.")


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"posetask {posetask.__version__}")
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
