"""The scores as PNG pictures: precision and recall, OKS-AP, HOTA, and what became of everybody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posetask.evaluation.libraries import library
from posetask.evaluation.scores import Scores
from posetask.evaluation.timeline import draw_timeline, timeline_height
from posetask.storage.durable import storage_errors

INK, SOFT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, GREEN, ORANGE = "#1d6fb8", "#2a9d74", "#d97706"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
}


def write_plots(scores: Scores, folder: Path, title: str = "") -> list[Path]:
    """Write a PNG for everything that was scored, at 150 dots an inch.

    Args:
        scores: From ``score``.
        folder: Made if it is not there; files of the same names are replaced.
        title: Stands small above each picture.

    Returns:
        The files: ``precision_recall.png``, ``oks.png``, ``hota.png``, ``timeline.png``, as far as scored.

    Raises:
        NotAvailable: matplotlib is missing.
        StorageFull: No space left.
        OutputError: The folder cannot be written to.
    """
    pictures: list[tuple[str, float, Callable[[Any, Scores], None]]] = []
    if scores.detection:
        pictures.append(("precision_recall.png", 5.0, _draw_precision_recall))
    if scores.pose:
        pictures.append(("oks.png", 4.4, _draw_oks))
    if scores.tracking:
        pictures.append(("hota.png", 4.4, _draw_hota))
        pictures.append(("timeline.png", timeline_height(scores.tracking), _draw_timeline))
    matplotlib, backend = library("matplotlib"), library("matplotlib.backends.backend_agg")
    written = []
    with matplotlib.rc_context(STYLE):
        for name, height, draw in pictures:
            figure = library("matplotlib.figure").Figure((8.0, height), dpi=150, layout="constrained")
            backend.FigureCanvasAgg(figure)
            draw(figure, scores)
            if title:
                figure.suptitle(title, x=0.01, ha="left", fontsize=8, color=SOFT)
            with storage_errors(folder / name):
                folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(folder / name)
            written.append(folder / name)
    return written


def _titled(axes: Any, what: str, figures: str) -> None:
    axes.set_title(what, loc="left", fontweight="bold", fontsize=12, pad=12)
    axes.set_title(figures, loc="right", fontsize=10, color=SOFT, pad=12)


def _shares(axes: Any, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, ylim=(-0.02, 1.04), yticks=np.linspace(0, 1, 6))
    axes.tick_params(length=0)


def _draw_precision_recall(figure: Any, scores: Scores) -> None:
    found = scores.detection
    assert found is not None  # noqa: S101  (write_plots asks first)
    axes = figure.add_subplot()
    recall = np.linspace(0, 1, 101)
    shades = library("matplotlib").colormaps["Blues"](np.linspace(0.95, 0.3, len(found.curves)))
    for curve, shade in zip(found.curves, shades, strict=True):
        main = curve.threshold in (0.5, 0.75)
        axes.plot(
            recall,
            curve.precision,
            color=shade,
            lw=2.2 if main else 1.0,
            solid_joinstyle="round",
            label=f"IoU {curve.threshold:.2f}   AP {curve.ap:.3f}",
            zorder=3 if main else 2,
        )
    axes.fill_between(recall, found.curves[0].precision, color=BLUE, alpha=0.06, lw=0)
    if found.precision is not None:
        threshold = scores.options.score_threshold
        said = f"score ≥ {threshold:g}" if threshold > 0 else "all predictions"
        label = f"{said}:\nprecision {found.precision:.3f}\nrecall {found.recall:.3f}"
        point = {"ls": "none", "marker": "o", "ms": 9, "mec": "white", "mew": 1.5, "clip_on": False}
        axes.plot(found.recall, found.precision, color=ORANGE, zorder=5, label=label, **point)
    _shares(axes, "recall", "precision")
    axes.set(xlim=(-0.01, 1.02), xticks=np.linspace(0, 1, 6))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5, handlelength=1.4)
    _titled(axes, "Boxes: precision and recall", f"AP {found.ap:.3f}   AP50 {found.ap50:.3f}")


def _draw_oks(figure: Any, scores: Scores) -> None:
    pose = scores.pose
    assert pose is not None  # noqa: S101  (write_plots asks first)
    axes = figure.add_subplot()
    thresholds, values = [c.threshold for c in pose.curves], [c.ap for c in pose.curves]
    axes.bar(thresholds, values, width=0.036, color=GREEN, alpha=0.85, zorder=3)
    for x, y in zip(thresholds, values, strict=True):
        axes.text(x, y + 0.015, f"{y:.2f}", ha="center", va="bottom", fontsize=9, zorder=4)
    axes.axhline(pose.oks_ap, color=INK, lw=1.2, ls=(0, (4, 3)), zorder=5)
    axes.annotate(
        f"mean {pose.oks_ap:.3f}",
        (1.0, pose.oks_ap),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        fontweight="bold",
    )
    _shares(axes, "object keypoint similarity that is asked for", "average precision")
    axes.set(xticks=thresholds, xlim=(0.47, 0.98), ylim=(0, 1.09))
    axes.grid(axis="x", visible=False)
    _titled(axes, "Keypoints: how precise the poses are", f"OKS-AP {pose.oks_ap:.3f}   AR {pose.oks_ar:.3f}")


def _draw_hota(figure: Any, scores: Scores) -> None:
    tracks = scores.tracking
    assert tracks is not None  # noqa: S101  (write_plots asks first)
    axes = figure.add_subplot()
    curve = tracks.curve
    lines = [
        ("HOTA", curve.hota, tracks.hota, INK, 2.6),
        ("DetA  are people found?", curve.deta, tracks.deta, BLUE, 1.8),
        ("AssA  do they keep their id?", curve.assa, tracks.assa, ORANGE, 1.8),
    ]
    for name, values, mean, colour, width in lines:
        axes.plot(
            curve.alpha, values, color=colour, lw=width, marker="o", ms=3.5, label=f"{name}   {mean:.3f}"
        )
    _shares(axes, "overlap that is asked for (IoU)", "score")
    axes.set(xlim=(0.03, 0.97), xticks=np.round(np.arange(0.1, 1.0, 0.1), 1))
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    figures = f"HOTA {tracks.hota:.3f}   IDF1 {tracks.idf1:.3f}   MOTA {tracks.mota:.3f}"
    _titled(axes, "Tracks: found, and told apart", figures)


def _draw_timeline(figure: Any, scores: Scores) -> None:
    assert scores.tracking is not None  # noqa: S101  (write_plots asks first)
    axes = draw_timeline(figure, scores.tracking)
    tracks = scores.tracking
    figures = f"{tracks.switches} id switches, {tracks.missed} missed, {tracks.false_alarms} false alarms"
    _titled(axes, "Tracks: what became of everybody", figures)
