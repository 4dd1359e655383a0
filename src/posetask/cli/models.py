"""``posetask models``: what the catalogue offers, what is here, and whether it is what it should be."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from posetask.cli.console import err, out
from posetask.errors import ModelCorrupt, ModelNotInstalled
from posetask.models import Catalogue, DetectorSpec, Store, Verified
from posetask.models.folder import Progress as Told

app = typer.Typer(no_args_is_help=True, help="List, fetch and verify models.")

Names = Annotated[list[str] | None, typer.Argument(help="names from the catalogue")]


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="print the catalogue as JSON")] = False,
) -> None:
    """Show every model of the catalogue and whether it is on this machine."""
    store = Store()
    here = set(store.installed())
    if as_json:
        rows = [
            {
                **spec.model_dump(mode="json"),
                "installed": spec.name in here,
                "path": str(store.path(spec.name)),
            }
            for spec in Catalogue.load()
        ]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table("", "name", "finds", "input", "AP", "size", "sha256", "licence", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for spec in Catalogue.load():
        table.add_row(
            "[green]✓[/]" if spec.name in here else "",
            spec.name,
            "people" if isinstance(spec, DetectorSpec) else "keypoints",
            f"{spec.width}x{spec.height}",
            " ".join(f"{figure.value:g}" for figure in spec.accuracy),
            mib(spec.size),
            "known" if spec.sha256 else "[yellow]unknown[/]",
            spec.licence,
        )
    out.print(table)
    out.print(f"✓: in {store.folder}", markup=False, soft_wrap=True)
    out.print(
        "AP as published; on which set, and notes on licences: posetask models list --json. Figures of "
        "different sets do not compare. A file of unknown sha256 is pinned as the first pull sees it.",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def pull(
    names: Names = None,
    force: Annotated[bool, typer.Option("--force", help="fetch again what is here")] = False,
    repin: Annotated[
        bool,
        typer.Option("--repin", help="accept a new digest where only an earlier pull vouched for the old"),
    ] = False,
) -> None:
    """Fetch models; without names, the recommended detector and pose estimator."""
    store = Store()
    with _progress() as told:
        pulled = store.pull(names or (), progress=told, force=force, repin=repin)
    for model in pulled:
        verb = "fetched" if model.fetched else "already here"
        out.print(f"{model.name}: {verb}, sha256 {model.sha256}", markup=False, soft_wrap=True)
        note = store.catalogue.get(model.name).licence_note
        if model.trust == "first-use":
            err.print(
                f"  nobody publishes a digest of {model.name}: this one is trusted as the first "
                "seen, and later pulls must match it",
                markup=False,
            )
        if model.fetched and note:
            err.print(f"  licence: {note}", markup=False)


@app.command()
def verify(names: Names = None) -> None:
    """Check model files against their digests; without names, all that are here."""
    store = Store()
    results = store.verify(names or ())
    if not results:
        raise ModelNotInstalled(f"no models in {store.folder}", hint="posetask models pull")
    for result in results:
        out.print(_line(result), markup=False, soft_wrap=True)
    wrong = [result.name for result in results if result.state in ("wrong", "unpinned")]
    missing = [result.name for result in results if result.state == "missing"]
    if wrong:
        raise ModelCorrupt(
            f"not what they should be: {', '.join(wrong)}",
            hint=f"posetask models pull --force {' '.join(wrong)}",
        )
    if missing:
        raise ModelNotInstalled(
            f"not on this machine: {', '.join(missing)}", hint=f"posetask models pull {' '.join(missing)}"
        )


def _line(result: Verified) -> str:
    match result.state:
        case "ok":
            return f"{result.name}: ok, sha256 {result.sha256}"
        case "wrong":
            return f"{result.name}: sha256 {result.sha256 or 'unreadable'}, expected {result.expected}"
        case "unpinned":
            return f"{result.name}: sha256 {result.sha256}, and nothing to hold it against"
        case "missing":
            return f"{result.name}: missing"


@contextmanager
def _progress() -> Iterator[Told | None]:
    """Show a bar for each model in a terminal, a line for each elsewhere."""
    if not err.is_terminal:
        begun: set[str] = set()

        def line(name: str, _done: int, total: int | None) -> None:
            if name not in begun:
                begun.add(name)
                err.print(f"fetching {name} ({mib(total)})", markup=False)

        yield line
        return
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield bar


def mib(size: int | None) -> str:
    """Write a file's size for people.

    >>> mib(3659407), mib(None)
    ('3.5 MiB', '?')
    """
    return "?" if size is None else f"{math.ceil(size / 2**20 * 10) / 10:.1f} MiB"
