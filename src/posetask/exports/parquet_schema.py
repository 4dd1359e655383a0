"""The columns of the canonical result."""

from __future__ import annotations

import pyarrow as pa

METADATA_KEY = "posetask"
"""Key of the file's metadata under which the run's stand, as JSON."""


def pose_schema(keypoints: int) -> pa.Schema:
    """Columns of a file for a skeleton of so many keypoints.

    None holds nulls: NaN stands for what is missing.

    >>> pose_schema(17).field("keypoints").type.list_size
    51
    """
    return pa.schema(
        [
            pa.field("frame", pa.int32(), nullable=False),
            pa.field("pts_us", pa.int64(), nullable=False),
            pa.field("track_id", pa.int32(), nullable=False),
            pa.field("score", pa.float32(), nullable=False),
            pa.field("bbox", _floats(4), nullable=False),
            pa.field("keypoints", _floats(3 * keypoints), nullable=False),
            pa.field("det_index", pa.int32(), nullable=False),
            pa.field("interpolated", pa.bool_(), nullable=False),
        ]
    )


def _floats(width: int) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), width)
