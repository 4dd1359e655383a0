"""The scores as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from posetask.evaluation.scores import Scores


def table(scores: Scores, title: str = "") -> RenderableType:
    """Lay out scores for ``rich``: one line a metric, then what could not be scored and why.

    Args:
        scores: From ``score``.
        title: What was scored, such as the files' names; plain text.
    """
    grid = Table(title=escape(title) or None, title_justify="left", box=box.SIMPLE_HEAD, header_style="dim")
    grid.add_column("", style="bold", no_wrap=True)
    grid.add_column("metric", no_wrap=True)
    grid.add_column("value", justify="right", no_wrap=True)
    grid.add_column("", style="dim")
    for section, rows in _sections(scores):
        for i, (name, value, note) in enumerate(rows):
            grid.add_row(section if i == 0 else "", name, value, note, end_section=i == len(rows) - 1)
    notes = [f"{scores.frames} frames, {scores.people} true people that count, {scores.ignored} ignored"]
    if scores.left_out:
        notes.append(f"{scores.left_out} predicted people in frames that the truth does not cover: left out")
    notes += [f"not scored: {', '.join(gap.metrics)}: {gap.reason}" for gap in scores.missing]
    return Group(grid, *(Text(note, style="yellow" if "not scored" in note else "dim") for note in notes))


Rows = list[tuple[str, str, str]]


def _sections(scores: Scores) -> list[tuple[str, Rows]]:
    sections: list[tuple[str, Rows]] = []
    if found := scores.detection:
        threshold = scores.options.score_threshold
        at = f" at a score of {threshold:g} or more" if threshold > 0 else ""
        rows = [
            ("AP50", _share(found.ap50), "boxes, at IoU 0.50"),
            ("AP75", _share(found.ap75), ""),
            ("AP", _share(found.ap), "mean over IoU 0.50 to 0.95"),
            ("precision", _share(found.precision), f"{_count(found.false_alarms, 'false alarm')}{at}"),
            ("recall", _share(found.recall), f"{found.found} found, {found.missed} missed{at}"),
        ]
        sections.append(("detection", rows))
    if pose := scores.pose:
        rows = [
            ("OKS-AP", _share(pose.oks_ap), "keypoints, mean over OKS 0.50 to 0.95"),
            ("OKS-AP50", _share(pose.oks_ap50), ""),
            ("OKS-AP75", _share(pose.oks_ap75), ""),
            ("OKS-AR", _share(pose.oks_ar), "mean of the highest recalls"),
        ]
        sections.append(("pose", rows))
    if tracks := scores.tracking:
        fate = (tracks.mostly_tracked, tracks.partially_tracked, tracks.mostly_lost)
        rows = [
            (
                "MOTA",
                _share(tracks.mota),
                f"{tracks.missed} missed, {_count(tracks.false_alarms, 'false alarm')}",
            ),
            ("IDF1", _share(tracks.idf1), f"precision {_share(tracks.idp)}, recall {_share(tracks.idr)}"),
            ("HOTA", _share(tracks.hota), f"DetA {_share(tracks.deta)}, AssA {_share(tracks.assa)}"),
            ("id switches", str(tracks.switches), _count(tracks.fragmentations, "fragmentation")),
            ("people", f"{tracks.truth_ids}", _count(tracks.predicted_ids, "predicted id")),
            ("tracked", " / ".join(map(str, fate)), "mostly, partially, mostly lost"),
        ]
        sections.append(("tracking", rows))
    return sections


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
