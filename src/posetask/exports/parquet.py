"""The canonical result: Parquet, one row for each person and frame."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from posetask.exports.metadata import RunMetadata
from posetask.exports.parquet_reader import PoseCursor, PoseTable, read_poses
from posetask.exports.parquet_schema import METADATA_KEY, pose_schema
from posetask.exports.writer import FileWriter, microseconds
from posetask.messages import Tracks

__all__ = ["ParquetWriter", "PoseCursor", "PoseTable", "read_poses"]

ROW_GROUP = 16_384
"""Rows held in memory before they are written, some 4 MB; four times as many pack no better."""


class ParquetWriter(FileWriter):
    """Columns as in :func:`posetask.exports.parquet_schema.pose_schema`, zstd, exact float32 values.

    Rows are in frame order, within a frame in the tracker's; a frame is never split over row groups. Frames
    without people leave no rows: how many frames there were stands in the file's metadata, JSON under the
    key ``posetask`` (see :class:`RunMetadata`). Floats are stored as byte streams, which zstd packs a fifth
    better than plain ones.

    Args:
        path: The result. Its folder must exist.
        metadata: Of the run.
        overwrite: Replace what is there.

    Raises:
        OutputExists: There is such a file, and ``overwrite`` is False.
    """

    def __init__(self, path: Path, metadata: RunMetadata, overwrite: bool = False) -> None:
        self._schema = pose_schema(len(metadata.keypoints))
        self._columns = _Columns(ROW_GROUP, len(metadata.keypoints))
        self._parquet: Any = None
        super().__init__(path, metadata, overwrite)

    def _begin(self) -> None:
        self._parquet = pq.ParquetWriter(
            self._output.file,
            self._schema,
            compression="zstd",
            use_dictionary=["frame", "pts_us", "track_id", "det_index"],
            use_byte_stream_split=["score", "bbox.list.element", "keypoints.list.element"],
            sorting_columns=[pq.SortingColumn(0)],
            write_page_index=True,
            write_page_checksum=True,
            store_schema=False,  # _end does, when the metadata are complete
        )

    def _write(self, tracks: Tracks) -> None:
        m = len(tracks)
        if m == 0:
            return
        if not self._columns.has_room(m):
            self._flush()
            if m > ROW_GROUP:
                self._columns = _Columns(m, len(self.metadata.keypoints))
        self._columns.append(tracks)

    def _flush(self) -> None:
        if self._columns.rows:
            table = self._columns.table(self._schema)
            self._parquet.write_table(table, row_group_size=len(table))
            self._columns.rows = 0
            del table
            pa.default_memory_pool().release_unused()  # or what packing took stays with the process

    def _end(self) -> None:
        self._flush()
        # Arrow's own copy of the schema carries the metadata too, so that a table that is read has them.
        metadata = {METADATA_KEY: json.dumps(self.metadata.model_dump(mode="json"))}
        schema = base64.b64encode(self._schema.with_metadata(metadata).serialize().to_pybytes()).decode()
        self._parquet.add_key_value_metadata({**metadata, "ARROW:schema": schema})
        self._parquet.close()
        self._parquet = None

    def _release(self) -> None:
        parquet, self._parquet = self._parquet, None
        if parquet is not None:
            _quietly(parquet.close)  # it writes a footer, which a full disk refuses


class _Columns:
    """One row group in the making: arrays that are filled from the top, and used again."""

    def __init__(self, capacity: int, keypoints: int) -> None:
        self.rows = 0
        self._capacity = capacity
        self.frame = np.empty(capacity, np.int32)
        self.pts = np.empty(capacity, np.int64)
        self.track = np.empty(capacity, np.int32)
        self.score = np.empty(capacity, np.float32)
        self.bbox = np.empty((capacity, 4), np.float32)
        self.keypoints = np.empty((capacity, keypoints, 3), np.float32)
        self.det = np.empty(capacity, np.int32)
        self.interpolated = np.empty(capacity, np.bool_)

    def has_room(self, rows: int) -> bool:
        return self.rows + rows <= self._capacity

    def append(self, tracks: Tracks) -> None:
        at = slice(self.rows, self.rows + len(tracks))
        self.frame[at] = tracks.header.index
        self.pts[at] = microseconds(tracks.header)
        self.track[at] = tracks.ids
        self.score[at] = tracks.scores
        self.bbox[at] = tracks.xyxy
        self.keypoints[at, :, :2] = tracks.keypoints
        self.keypoints[at, :, 2] = tracks.keypoint_scores
        self.det[at] = tracks.det_index
        self.interpolated[at] = tracks.interpolated
        self.rows = at.stop

    def table(self, schema: pa.Schema) -> pa.Table:
        n = self.rows
        columns: list[npt.NDArray[Any]] = [
            self.frame,
            self.pts,
            self.track,
            self.score,
            self.bbox,
            self.keypoints,
            self.det,
        ]
        packed = np.packbits(self.interpolated[:n], bitorder="little")
        buffers = [column[:n] for column in columns] + [packed]
        arrays = [_arrow(schema.types[i], n, buffer) for i, buffer in enumerate(buffers)]
        return pa.Table.from_arrays(arrays, schema=schema)


def _arrow(kind: Any, rows: int, numbers: npt.NDArray[Any]) -> pa.Array:
    # Not pa.array(): it looks for pandas first, and importing that takes a second where it is installed.
    buffers = [None, pa.py_buffer(numbers)]
    if not pa.types.is_fixed_size_list(kind):
        return pa.Array.from_buffers(kind, rows, buffers)
    values = pa.Array.from_buffers(kind.value_type, rows * kind.list_size, buffers)
    return pa.FixedSizeListArray.from_arrays(values, type=kind)


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except (OSError, pa.ArrowException):
        return
