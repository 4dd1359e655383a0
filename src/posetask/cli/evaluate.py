"""``posetask eval``: score predictions against truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from posetask.cli.console import err, out
from posetask.errors import InvalidParameters
from posetask.evaluation import (
    ScoreOptions,
    load_predictions,
    load_truth,
    score,
    table,
    write_plots,
)
from posetask.storage.durable import storage_errors


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PRED...",
            help="What was predicted: COCO JSON, MOT rows or Parquet; several files of one run together.",
            show_default=False,
        ),
    ],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="COCO keypoints JSON, or a MOT gt.txt.", show_default=False),
    ] = None,
    truth_mot: Annotated[
        Path | None, typer.Option("--truth-mot", help="MOT gt.txt of the same clip.", show_default=False)
    ] = None,
    easy: Annotated[
        bool,
        typer.Option("--easy", help="Ignore people under 1/6 of the frame's height or under 0.7 visible."),
    ] = False,
    min_height: Annotated[
        float | None,
        typer.Option(help="Ignore people lower than this share of the frame.", show_default=False),
    ] = None,
    min_visible: Annotated[
        float | None,
        typer.Option(help="Ignore people of whom less than this share is visible.", show_default=False),
    ] = None,
    frame_height: Annotated[
        float | None,
        typer.Option(help="Pixels; for truth that does not say it, such as a gt.txt.", show_default=False),
    ] = None,
    score_threshold: Annotated[
        float, typer.Option(help="Precision and recall count people at or above this score.")
    ] = 0.0,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for PNG plots.", metavar="DIR", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the scores as JSON; - for standard output.", show_default=False),
    ] = None,
) -> None:
    """Score people, poses and tracks against truth: AP, precision, recall, OKS-AP, MOTA, IDF1, HOTA.

    What both sides speak of is scored; what is left out is named, with the reason.
    """
    base = ScoreOptions.easy() if easy else ScoreOptions()
    try:
        options = ScoreOptions(
            min_height=base.min_height if min_height is None else min_height,
            min_visible=base.min_visible if min_visible is None else min_visible,
            score_threshold=score_threshold,
            frame_height=frame_height,
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise InvalidParameters(f"--{name}: {first['msg']}", hint="see posetask eval --help") from error
    true = load_truth(*(path for path in (truth, truth_mot) if path is not None))
    scores = score(true, load_predictions(predictions, true), options)
    title = " + ".join(path.name for path in predictions)
    if json_file is not None and str(json_file) == "-":
        typer.echo(scores.model_dump_json(indent=2))
    else:
        out.print(table(scores, title))
    if json_file is not None and str(json_file) != "-":
        with storage_errors(json_file):  # in place: it may be a pipe or a device
            json_file.write_text(scores.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if plots is not None:
        for path in write_plots(scores, plots, title):
            err.print(f"wrote {path}", markup=False)
