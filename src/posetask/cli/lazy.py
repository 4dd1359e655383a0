"""Verbs that are loaded when they are called: ``posetask --help`` needs no NumPy, FFmpeg or ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb is.

    Attributes:
        module: That holds it.
        attribute: A function with Typer's annotations, or a :class:`typer.Typer` of further verbs.
        help: The first line of its own help.
    """

    module: str
    attribute: str
    help: str

    def load(self, name: str) -> Any:
        """Import it, as the command that Typer makes of it."""
        found = getattr(import_module(self.module), self.attribute)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command(name)(found)
            command = typer.main.get_command(alone)
        command.name = name
        return command


def lazy_group(verbs: dict[str, Verb]) -> type[TyperGroup]:
    """Make the class of a group that loads of ``verbs`` only the one that is called."""

    class LazyGroup(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            verb = verbs.get(name or "")
            return name, verb.load(str(name)) if verb else command, rest

    return LazyGroup


def add_verbs(app: typer.Typer, verbs: dict[str, Verb]) -> None:
    """List ``verbs`` in the help of ``app``, in order; its class must be their :func:`lazy_group`."""
    for name, verb in verbs.items():
        app.command(name, help=verb.help)(_unloaded)


def _unloaded() -> None:
    """Stand in the list of verbs until the group loads the one that is called."""
