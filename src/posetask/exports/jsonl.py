"""JSON Lines: one line for each frame, also for those without people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from posetask.exports.metadata import RunMetadata
from posetask.exports.writer import FileWriter, microseconds
from posetask.messages import Tracks


class JsonlWriter(FileWriter):
    """``{"frame", "time", "pts_us", "interpolated", "people": [{"id", "score", "bbox", "keypoints", …}]}``.

    Coordinates have three decimals, scores four to six; what is not a finite number is ``null``, so that
    every line is JSON in the strict sense (RFC 8259).

    Args:
        path: The result. Its folder must exist.
        metadata: Of the run.
        overwrite: Replace what is there.

    Raises:
        OutputExists: There is such a file, and ``overwrite`` is False.
    """

    def __init__(self, path: Path, metadata: RunMetadata, overwrite: bool = False) -> None:
        points = ",".join(["[%.3f,%.3f,%.4f]"] * len(metadata.keypoints))
        # Formatting a whole frame at once takes half the time of json.dumps on nested lists.
        self._person = (
            '{"id":%d,"score":%.6f,"bbox":[%.3f,%.3f,%.3f,%.3f],"det_index":%d,"keypoints":[' + points + "]}"
        )
        super().__init__(path, metadata, overwrite)

    def _write(self, tracks: Tracks) -> None:
        header, m = tracks.header, len(tracks)
        people = ""
        if m:
            numbers = np.concatenate(
                [
                    tracks.ids[:, None].astype(np.float64),
                    tracks.scores[:, None],
                    tracks.xyxy,
                    tracks.det_index[:, None],
                    np.concatenate([tracks.keypoints, tracks.keypoint_scores[..., None]], axis=2).reshape(
                        m, -1
                    ),
                ],
                axis=1,
            )
            people = ",".join([self._person] * m) % tuple(numbers.ravel().tolist())
            if not np.isfinite(numbers).all():  # no key holds these three letters
                people = people.replace("-inf", "null").replace("inf", "null").replace("nan", "null")
        time = microseconds(header)
        line = (
            f'{{"frame":{header.index},"time":{time / 1e6:.6f},"pts_us":{time},'
            f'"interpolated":{"true" if tracks.interpolated else "false"},"people":[{people}]}}\n'
        )
        self._output.file.write(line.encode("ascii"))
