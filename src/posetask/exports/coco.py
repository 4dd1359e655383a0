"""COCO keypoints: a whole dataset in one JSON file, with the tracks' ids."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from posetask.exports.metadata import RunMetadata
from posetask.exports.writer import FileWriter, microseconds, with_finite_box
from posetask.messages import Tracks


class CocoWriter(FileWriter):
    """``{annotations, images, categories, info}``, as pycocotools' ``COCO(path)`` loads it.

    A full dataset rather than a bare list of results, because only that names the frames, and so those
    without people, and the skeleton; since the annotations carry ``score`` and ``track_id``, the list in it
    is what ``COCO.loadRes`` and PoseTrack's tools expect.

    A keypoint's flag is 2 from the metadata's ``keypoint_threshold`` on, 1 below it, and 0, with x and y 0,
    where there is none (not finite, or a score of 0 or less); ``keypoint_scores`` has what the flag loses. A
    person whose box is not finite is left out: the format knows no null.

    Args:
        path: The result. Its folder must exist.
        metadata: Of the run.
        overwrite: Replace what is there.

    Raises:
        OutputExists: There is such a file, and ``overwrite`` is False.
    """

    def __init__(self, path: Path, metadata: RunMetadata, overwrite: bool = False) -> None:
        k = len(metadata.keypoints)
        self._person = (
            '{"id":%d,"image_id":%d,"category_id":1,"track_id":%d,"iscrowd":0,'
            '"bbox":[%.3f,%.3f,%.3f,%.3f],"area":%.3f,"score":%.6f,"num_keypoints":%d,"keypoints":['
            + ",".join(["%.3f,%.3f,%d"] * k)
            + '],"keypoint_scores":['
            + ",".join(["%.4f"] * k)
            + '],"interpolated":'
        )
        self._people = 0
        self._images: IO[bytes] | None = None
        super().__init__(path, metadata, overwrite)

    def _begin(self) -> None:
        # Two lists grow at once, and a JSON file has one end: the images wait in a nameless file beside it.
        self._images = tempfile.TemporaryFile(dir=self.path.parent, buffering=1 << 16)  # noqa: SIM115
        self._output.file.write(b'{"annotations":[')

    def _write(self, tracks: Tracks) -> None:
        header = tracks.header
        image = (
            f'{"," if self._frames else ""}\n{{"id":{header.index},"file_name":"{header.index:06d}.jpg",'
            f'"width":{header.width},"height":{header.height},"time":{microseconds(header) / 1e6:.6f}}}'
        )
        assert self._images is not None  # noqa: S101 - for mypy; _begin made it
        self._images.write(image.encode("ascii"))
        rows = with_finite_box(tracks)
        if not len(rows):
            return
        person = self._person + ("true}" if tracks.interpolated else "false}")
        text = ",\n".join([person] * len(rows)) % tuple(self._numbers(tracks, rows))
        self._output.file.write(((",\n" if self._people else "\n") + text).encode("ascii"))
        self._people += len(rows)

    def _numbers(self, tracks: Tracks, rows: npt.NDArray[np.intp]) -> list[float]:
        n, k = len(rows), len(self.metadata.keypoints)
        boxes = tracks.xyxy[rows].astype(np.float64)
        sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        scores = np.nan_to_num(tracks.keypoint_scores[rows], nan=0.0, posinf=0.0, neginf=0.0)
        points = tracks.keypoints[rows]
        known = np.isfinite(points).all(axis=2) & (scores > 0)
        flags = np.where(known, np.where(scores >= self.metadata.keypoint_threshold, 2, 1), 0)
        numbers = np.empty((n, 10 + 4 * k))
        numbers[:, 0] = np.arange(self._people + 1, self._people + n + 1)  # from 1: COCOeval takes 0 for none
        numbers[:, 1] = tracks.header.index
        numbers[:, 2] = tracks.ids[rows]
        numbers[:, 3:5] = boxes[:, :2]
        numbers[:, 5:7] = sizes
        numbers[:, 7] = sizes.prod(axis=1)
        numbers[:, 8] = np.nan_to_num(tracks.scores[rows], nan=0.0, posinf=0.0, neginf=0.0)
        numbers[:, 9] = known.sum(axis=1)
        triples = numbers[:, 10 : 10 + 3 * k].reshape(n, k, 3)
        triples[..., :2] = np.where(known[..., None], points, 0)
        triples[..., 2] = flags
        numbers[:, 10 : 10 + 3 * k] = triples.reshape(n, 3 * k)
        numbers[:, 10 + 3 * k :] = scores
        values: list[float] = numbers.ravel().tolist()
        return values

    def _end(self) -> None:
        file, images = self._output.file, self._images
        file.write(b'\n],\n"images":[')
        if images is not None:
            images.seek(0)
            shutil.copyfileobj(images, file, 1 << 20)
        meta = self.metadata
        category = {
            "id": 1,
            "name": "person",
            "supercategory": "person",
            "keypoints": list(meta.keypoints),
            "skeleton": [[a + 1, b + 1] for a, b in meta.links],
        }
        info = {
            "description": f"Tracked poses of {meta.source}",
            "version": "1.0",
            "posetask": meta.model_dump(mode="json"),
        }
        tail = f'\n],\n"categories":{json.dumps([category])},\n"info":{json.dumps(info)}}}\n'
        file.write(tail.encode("ascii"))
        self._release()

    def _release(self) -> None:
        if self._images is not None:
            with suppress(OSError):  # on a full disk closing fails too
                self._images.close()
            self._images = None
