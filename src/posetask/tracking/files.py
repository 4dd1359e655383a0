"""Detections from a file, tracks to a file: MOT text or NumPy's .npz.

MOT text is MOTChallenge's (Leal-Taixe et al. 2015, arXiv 1504.01942): for each box a line ``frame, id,
left, top, width, height, conf, ...``, frames counted from 1. Text is read as float64. An .npz keeps its
own type, so float32 detections stay float32.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posetask.errors import InvalidParameters, OutputError, SourceNotFound
from posetask.storage.durable import refuse_existing, writing_whole
from posetask.tracking.measurements import COORDINATE_LIMIT
from posetask.tracking.stream import MAX_FRAMES, DetectionStream, TrackStream

TEXT = frozenset({".txt", ".csv"})
ARRAYS = frozenset({".npz"})
MAX_BYTES = 4 * 2**30

_FORMATS = "use .txt (MOT text) or .npz"
_NPZ_HINT = "an .npz of detections holds frame (N,), xyxy (N, 4) and score (N,)"
_TEXT_HINT = "a line is: frame, -1, left, top, width, height, confidence"


def read_detections(path: Path) -> DetectionStream:
    """Read a MOT ``det.txt``, or of an .npz with ``frame``, ``xyxy`` and ``score``.

    Frames count from 1. Where they are out of order they are sorted, stably, and the result says so.

    Raises:
        SourceNotFound: There is no such file.
        InvalidParameters: The file cannot be read as detections, or holds what is no detection.
    """
    suffix = path.suffix.lower()
    if suffix not in TEXT | ARRAYS:
        raise InvalidParameters(f"{path} is of an unknown format of detections", hint=_FORMATS)
    if not path.is_file():
        raise SourceNotFound(f"there is no file {path}", hint="check the path")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidParameters(f"{path} is larger than 4 GiB", hint="track it in pieces")
        frame, xyxy, scores = _read_arrays(path) if suffix in ARRAYS else _read_text(path)
    except OSError as error:
        raise InvalidParameters(
            f"{path} cannot be read: {error.strerror or error}", hint="check the file"
        ) from error
    return _checked(path, frame, xyxy, scores)


def check_output(path: Path, *, force: bool = False) -> None:
    """Fail early, before any work: what :func:`write_tracks` would refuse.

    Raises:
        InvalidParameters: The suffix is of no format that can be written.
        OutputExists: The file is there, and ``force`` is False.
        OutputError: There is no such folder, or the path is one.
    """
    if path.suffix.lower() not in TEXT | ARRAYS:
        raise InvalidParameters(f"{path} is of an unknown format of tracks", hint=_FORMATS)
    refuse_existing(path, overwrite=force)
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")


def write_tracks(path: Path, tracks: TrackStream, *, force: bool = False) -> None:
    """Write MOT text or an .npz, whole or not at all.

    Text has lines ``frame, id, left, top, width, height, conf, -1, -1, -1``; an .npz has ``frame``,
    ``id``, ``tlwh``, ``score`` and ``det_index``.

    Raises:
        InvalidParameters, OutputExists, OutputError: As :func:`check_output`.
        StorageFull: No space left.
        OutputError: The folder cannot be written.
    """
    check_output(path, force=force)
    with writing_whole(path, overwrite=force) as file:
        if path.suffix.lower() in ARRAYS:
            np.savez_compressed(
                file,
                frame=tracks.frame,
                id=tracks.ids,
                tlwh=tracks.tlwh,
                score=tracks.scores,
                det_index=tracks.det_index,
            )
        else:
            file.writelines(line.encode() for line in _mot_lines(tracks))


def _mot_lines(tracks: TrackStream) -> Iterator[str]:
    boxes, ids, frames = tracks.tlwh.tolist(), tracks.ids.tolist(), tracks.frame.tolist()
    for frame, track, (left, top, width, height), score in zip(
        frames, ids, boxes, tracks.scores, strict=True
    ):
        # the shortest digits that read back as the same number of the same type
        conf = np.format_float_positional(score, trim="-")
        yield f"{frame},{track},{left:.4f},{top:.4f},{width:.4f},{height:.4f},{conf},-1,-1,-1\n"


def _read_text(path: Path) -> tuple[npt.NDArray[Any], ...]:
    try:
        with path.open(encoding="utf-8") as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input contained no data", category=UserWarning)
            first = next((line for line in file if line.strip() and not line.startswith("#")), "")
            file.seek(0)
            table = np.loadtxt(
                file, delimiter="," if "," in first else None, usecols=(0, 2, 3, 4, 5, 6), ndmin=2
            )
    except (ValueError, IndexError) as error:  # UnicodeDecodeError is a ValueError
        raise InvalidParameters(f"{path} is no MOT text: {error}", hint=_TEXT_HINT) from error
    if not table.size:
        table = np.zeros((0, 6))
    xyxy = table[:, 1:5].copy()
    xyxy[:, 2:] += xyxy[:, :2]
    return table[:, 0], xyxy, table[:, 5]


def _read_arrays(path: Path) -> tuple[npt.NDArray[Any], ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InvalidParameters(f"{path} unpacks to more than 4 GiB", hint="track it in pieces")
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("frame", "xyxy", "score") if name not in arrays]
            if missing:
                raise InvalidParameters(f"{path} has no {', '.join(missing)}", hint=_NPZ_HINT)
            return arrays["frame"], arrays["xyxy"], arrays["score"]
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidParameters(f"{path} is no .npz of detections: {error}", hint=_NPZ_HINT) from error


def _checked(
    path: Path, frame: npt.NDArray[Any], xyxy: npt.NDArray[Any], scores: npt.NDArray[Any]
) -> DetectionStream:
    if frame.ndim != 1 or scores.shape != frame.shape or xyxy.shape != (len(frame), 4):
        raise InvalidParameters(
            f"{path}: frame {frame.shape}, xyxy {xyxy.shape} and score {scores.shape} do not fit",
            hint=_NPZ_HINT,
        )
    if any(array.dtype.kind not in "iuf" for array in (frame, xyxy, scores)):
        raise InvalidParameters(f"{path}: frame, xyxy and score must be numbers", hint=_NPZ_HINT)
    single = np.result_type(xyxy, scores, np.float32) == np.float32
    dtype: type[np.floating[Any]] = np.float32 if single else np.float64
    boxes, scores = xyxy.astype(dtype), scores.astype(dtype)
    # written so that NaN fails too
    bad = ~((np.abs(boxes) <= COORDINATE_LIMIT).all(axis=1) & (np.abs(scores) <= COORDINATE_LIMIT))
    _refuse(path, bad, "a number that is not finite, or beyond 1e7", "drop such detections")
    bad = ~((frame >= 1) & (frame <= MAX_FRAMES) & (frame == np.floor(frame)))
    _refuse(path, bad, f"a frame that is no whole number from 1 to {MAX_FRAMES}", "frames count from 1")
    numbers = frame.astype(np.int32)
    if not (np.diff(numbers) < 0).any():
        return DetectionStream(numbers, boxes, scores)
    order = np.argsort(numbers, kind="stable")
    return DetectionStream(numbers[order], boxes[order], scores[order], reordered=True)


def _refuse(path: Path, bad: npt.NDArray[np.bool_], what: str, hint: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0]) + 1
        raise InvalidParameters(f"{path}: detection {row} has {what} ({int(bad.sum())} such)", hint=hint)
