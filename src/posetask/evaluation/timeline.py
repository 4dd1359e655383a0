"""The picture of every true person's life under the tracker."""

from __future__ import annotations

from typing import Any

from posetask.evaluation.libraries import library
from posetask.evaluation.scores import Span, TrackingScores

MOST_ROWS = 40
MISSED, SWITCH, ALARM = "#c3cad2", "#1f2933", "#d64545"
# ten hues that stay apart on white, also for most colour-blind readers (after Okabe and Ito, and Tol)
# fmt: off
DARK = (
    "#1d6fb8", "#e69f00", "#2a9d74", "#cc79a7", "#d55e00",
    "#7b5ea7", "#117733", "#882255", "#8a8d00", "#4b5fa8",
)
LIGHT = (
    "#7fb2de", "#f3cf80", "#8fd0b9", "#e5bcd4", "#f0a87a",
    "#bdadd6", "#85b896", "#c992a8", "#c8ca7a", "#a3aed6",
)
# fmt: on
HUES = (*DARK, *LIGHT)


def timeline_height(tracks: TrackingScores) -> float:
    """Inches that the picture needs."""
    return 2.6 + 0.27 * min(max(tracks.truth_ids, 2), MOST_ROWS)


def rows_to_show(tracks: TrackingScores) -> list[int]:
    """Choose the true ids to draw, ascending: all, or the 40 with the most switches and missed frames."""
    trouble: dict[int, tuple[int, int]] = {}
    for span in tracks.spans:
        switches, missed = trouble.get(span.truth_id, (0, 0))
        missed += span.last - span.first + 1 if span.predicted_id is None else 0
        trouble[span.truth_id] = switches, missed
    for switch in tracks.switched:
        switches, missed = trouble[switch.truth_id]
        trouble[switch.truth_id] = switches + 1, missed
    worst = sorted(trouble, key=lambda person: (*(-n for n in trouble[person]), person))
    return sorted(worst[:MOST_ROWS])


def draw_timeline(figure: Any, tracks: TrackingScores) -> Any:
    """Draw a row for each true person, coloured by the predicted id, and the false alarms below.

    Returns:
        The upper axes, for a title.
    """
    shown = rows_to_show(tracks)
    row = {person: i for i, person in enumerate(shown)}
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(max(len(shown), 2), 1.6))
    first, last = min(s.first for s in tracks.spans), max(s.last for s in tracks.spans)
    hues: dict[int, str] = {}
    for span in tracks.spans:
        if span.predicted_id is not None:
            hues.setdefault(span.predicted_id, HUES[len(hues) % len(HUES)])
    labelled: dict[int, int] = {}
    for span in tracks.spans:
        if span.truth_id not in row:
            continue
        _draw_span(upper, span, row[span.truth_id], hues)
        need = 0.014 + 0.012 * len(str(span.predicted_id))  # as a share of the width
        wide = span.last - span.first + 1 >= need * (last - first + 1)
        if span.predicted_id is not None and wide and labelled.get(span.truth_id) != span.predicted_id:
            labelled[span.truth_id] = span.predicted_id
            _draw_label(upper, span, row[span.truth_id], hues[span.predicted_id])
    switched = [s for s in tracks.switched if s.truth_id in row]
    upper.plot(
        [s.frame - 0.5 for s in switched],
        [row[s.truth_id] for s in switched],
        ls="none",
        marker="D",
        ms=6,
        color=SWITCH,
        mec="white",
        mew=1,
        zorder=5,
    )
    upper.set(yticks=range(len(shown)), yticklabels=[str(p) for p in shown], ylim=(len(shown) - 0.4, -0.6))
    more = tracks.truth_ids - len(shown)
    upper.set_ylabel(f"true person ({more} calmer ones not shown)" if more else "true person")
    upper.grid(axis="y", visible=False)
    upper.spines["left"].set_visible(False)
    upper.tick_params(length=0)
    _draw_legend(figure)
    lower.bar([f for f, _ in tracks.alarms], [n for _, n in tracks.alarms], width=1.0, color=ALARM, zorder=3)
    most = max((n for _, n in tracks.alarms), default=1)
    lower.set(xlabel="frame", ylabel="false\nalarms", xlim=(first - 1, last + 1), ylim=(0, most * 1.15))
    lower.set_yticks([0, most])
    lower.tick_params(length=0)
    return upper


def _draw_span(axes: Any, span: Span, row: int, hues: dict[int, str]) -> None:
    start, length = span.first - 0.5, span.last - span.first + 1
    if span.predicted_id is None:
        axes.barh(row, length, left=start, height=0.16, color=MISSED, zorder=2)
        return
    axes.barh(row, length, left=start, height=0.66, color=hues[span.predicted_id], zorder=3)


def _draw_label(axes: Any, span: Span, row: int, hue: str) -> None:
    axes.annotate(
        str(span.predicted_id),
        (span.first - 0.5, row),
        xytext=(6, 0),  # clear of a switch's mark
        textcoords="offset points",
        va="center_baseline",
        fontsize=8,
        color="white" if hue in DARK else SWITCH,
        fontweight="bold",
        annotation_clip=True,
        zorder=4,
    )


def _draw_legend(figure: Any) -> None:
    patch, line = library("matplotlib.patches").Patch, library("matplotlib.lines").Line2D
    figure.legend(
        handles=[
            patch(color=HUES[0], label="found; the number and the colour are the predicted id"),
            line([], [], color=MISSED, lw=3, label="missed"),
            line([], [], ls="none", marker="D", ms=6, color=SWITCH, mec="white", label="id switch"),
            patch(color=ALARM, label="false alarm"),
        ],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
        handlelength=1.3,
        columnspacing=1.6,
    )
