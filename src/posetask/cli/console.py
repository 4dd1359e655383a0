"""How the CLI speaks: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys

from rich.console import Console

from posetask.errors import PoseTaskError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells expect."""


def show_error(error: PoseTaskError, *, as_json: bool = False) -> int:
    """Say what went wrong and what to do next.

    Returns:
        The exit code.
    """
    if as_json:
        document = {
            "error": error.code,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
        }
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        err.print(f"[bold red]error[/] [dim]({error.reason})[/]: ", end="")
        err.print(error.message, markup=False)
        if error.hint:
            err.print("  [bold]next[/]: ", end="")
            err.print(error.hint, markup=False)
    return error.exit_code
