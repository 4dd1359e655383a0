"""How the CLI speaks: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from posetask.errors import PoseTaskError

if TYPE_CHECKING:
    from rich.console import Console

    out: Console
    err: Console

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells expect."""


def __getattr__(name: str) -> Any:
    # Made when first asked for: a stage's process that has nothing to say needs no Rich.
    if name not in {"out", "err"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _console(stderr=name == "err")


@cache
def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


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
        err = _console(stderr=True)
        err.print(f"[bold red]error[/] [dim]({error.reason})[/]: ", end="")
        err.print(error.message, markup=False)
        if error.hint:
            err.print("  [bold]next[/]: ", end="")
            err.print(error.hint, markup=False)
    return error.exit_code
