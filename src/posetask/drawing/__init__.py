"""Floor 1: the picture. Skeletons, ids and boxes of the tracked people, drawn onto a frame."""

from posetask.drawing.annotator import PoseAnnotator
from posetask.drawing.labels import Rect, place_label
from posetask.drawing.palette import color_of
from posetask.drawing.style import label_height, line_width

__all__ = [
    "PoseAnnotator",
    "Rect",
    "color_of",
    "label_height",
    "line_width",
    "place_label",
]
