"""Floor 1: scores predictions against truth with the field's own metrics (extra ``eval``)."""

from posetask.evaluation.load import load_predictions, load_truth
from posetask.evaluation.people import People
from posetask.evaluation.plots import write_plots
from posetask.evaluation.score import score
from posetask.evaluation.scores import ScoreOptions, Scores
from posetask.evaluation.sides import Part, Predictions, Truth, join_clips
from posetask.evaluation.table import table

__all__ = [
    "Part",
    "People",
    "Predictions",
    "ScoreOptions",
    "Scores",
    "Truth",
    "join_clips",
    "load_predictions",
    "load_truth",
    "score",
    "table",
    "write_plots",
]
