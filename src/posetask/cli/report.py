"""The summary of a run, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from posetask.runtime.summary import Summary


def show_summary(console: Console, summary: Summary) -> None:
    """Print what a run came to: outputs, counts, where the time went, and what is missing."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if summary.output:
        table.add_row(
            "output", str(summary.output) + (f"  (audio: {summary.audio})" if summary.audio else "")
        )
    for path in summary.exports.values():
        table.add_row("", str(path))
    declared = "?" if summary.frames_declared is None else str(summary.frames_declared)
    table.add_row(
        "frames",
        f"{declared} declared, {summary.frames_decoded} decoded, {summary.frames_annotated} annotated",
    )
    table.add_row("people", f"{summary.people} at most in a frame, {summary.people_per_frame:.1f} on average")
    table.add_row("tracks", str(summary.tracks))
    table.add_row("speed", f"{summary.fps:.1f} fps ({summary.seconds:.1f} s on {summary.cores} cores)")
    table.add_row("time", "  ".join(f"{step} {share:.0%}" for step, share in shares(summary)))
    models = (
        f"{use.name} ({use.provider.removesuffix('ExecutionProvider')})" for use in summary.models.values()
    )
    table.add_row("models", ", ".join(models))
    console.print(table)
    for warning in summary.warnings:
        console.print("[bold yellow]warning[/]: ", end="")
        console.print(warning, markup=False, soft_wrap=True)
    if summary.interrupted:
        console.print("[bold yellow]interrupted[/]: what was done up to then is whole", soft_wrap=True)


def shares(summary: Summary, least: float = 0.01) -> list[tuple[str, float]]:
    """Where the busy time went, largest first; steps below ``least`` of it are summed as ``other``."""
    steps = {name: seconds for name, seconds in summary.busy.items() if not name.endswith(".total")}
    whole = sum(steps.values())
    if not whole:
        return []
    rows = [(name, seconds / whole) for name, seconds in steps.items() if seconds / whole >= least]
    other = 1 - sum(share for _, share in rows)
    return [*rows, ("other", other)] if other >= least / 2 else rows
