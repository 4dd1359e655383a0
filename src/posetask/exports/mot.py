"""MOTChallenge's text format: one line for each person and frame."""

from __future__ import annotations

import numpy as np

from posetask.exports.writer import FileWriter, with_finite_box
from posetask.messages import Tracks

_LINE = "%d,%d,%.3f,%.3f,%.3f,%.3f,%.6f,-1,-1,-1\n"


class MotWriter(FileWriter):
    """``frame,id,left,top,width,height,confidence,-1,-1,-1``, frames and ids from 1.

    As the MOTChallenge's tools and TrackEval read it. Keypoints have no place in it, nor has a person whose
    box is not finite.

    Args:
        path: The result. Its folder must exist.
        metadata: Of the run.
        overwrite: Replace what is there.

    Raises:
        OutputExists: There is such a file, and ``overwrite`` is False.
    """

    def _write(self, tracks: Tracks) -> None:
        rows = with_finite_box(tracks)
        if not len(rows):
            return
        boxes = tracks.xyxy[rows].astype(np.float64)
        numbers = np.empty((len(rows), 7))
        numbers[:, 0] = tracks.header.index + 1
        numbers[:, 1] = tracks.ids[rows]
        numbers[:, 2:4] = boxes[:, :2]
        numbers[:, 4:6] = boxes[:, 2:] - boxes[:, :2]
        numbers[:, 6] = np.nan_to_num(tracks.scores[rows], nan=0.0, posinf=0.0, neginf=0.0)
        text = (_LINE * len(rows)) % tuple(numbers.ravel().tolist())
        self._output.file.write(text.encode("ascii"))
