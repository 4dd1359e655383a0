"""The Parquet that ``posetask run`` writes: one row a person in a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from posetask.errors import InputError
from posetask.evaluation.people import JOINTS, NO_ID, Numbers, People, mean_score

COLUMNS = ("frame", "track_id", "score", "bbox", "keypoints")


def read_parquet(path: Path) -> People:
    """Read ``frame, track_id, score, bbox`` (left, top, right, bottom) and ``keypoints`` (x, y, score).

    A row with null or NaN keypoints has no pose, and one with a null or negative id no identity. Without the
    keypoints column, or with another skeleton's, there are no poses.

    Raises:
        InputError: It is not Parquet, or lacks a column.
    """
    try:
        schema = pq.read_schema(path)
        lacking = [name for name in COLUMNS[:4] if name not in schema.names]
        if lacking:
            raise InputError(
                f"{path} has no column {', '.join(lacking)}", hint="give a file that posetask run wrote"
            )
        table = pq.read_table(path, columns=[name for name in COLUMNS if name in schema.names])
        n = table.num_rows
        xyxy = _lists(table.column("bbox"), 4)
        keypoints = None
        has_pose = "keypoints" in schema.names
        width = getattr(schema.field("keypoints").type, "list_size", JOINTS * 3) if has_pose else 0
        if width == JOINTS * 3:
            keypoints = _lists(table.column("keypoints"), JOINTS * 3).reshape(n, JOINTS, 3)
        frames = table.column("frame").to_numpy().astype(np.int64)
        ids = np.nan_to_num(table.column("track_id").to_numpy().astype(np.float64), nan=NO_ID)
        scores = table.column("score").to_numpy().astype(np.float64)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not the Parquet of posetask run: {error}",
            hint="give a file that posetask run wrote, or one in COCO or MOT format",
        ) from error
    return People.of(
        frames,
        np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1),
        scores=scores,
        ids=np.where(ids < 0, NO_ID, ids),
        keypoints=keypoints,
        sure=None if keypoints is None else mean_score(keypoints[:, :, 2]),
    )


def _lists(column: Any, width: int) -> Numbers:
    """``(N, width)`` of a list column; NaN in null rows."""
    values = column.combine_chunks()
    if not (pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type)):
        raise TypeError(f"a column is {values.type}, not a list of {width} numbers")
    rows = np.full((len(values), width), np.nan)
    there = values.is_valid().to_numpy(zero_copy_only=False)
    flat = values.drop_null().flatten().to_numpy(zero_copy_only=False)
    rows[there] = flat.reshape(int(there.sum()), width)
    return rows
