"""Reads the canonical result back, frame by frame. The file is anybody's: nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from posetask.errors import InputError, SourceNotFound
from posetask.exports.metadata import RunMetadata
from posetask.exports.parquet_schema import METADATA_KEY, pose_schema
from posetask.messages import FrameHeader, Tracks

FORMAT_VERSION = 1
MAX_PEOPLE = 10_000
"""Most people in one frame: what is held in memory at once."""

_MAX_METADATA = 1 << 20
_MAX_ROW_GROUP = 1 << 30
_MICROSECONDS = Fraction(1, 1_000_000)
_HINT = "give the .parquet file that posetask run wrote"

Batch = dict[str, npt.NDArray[Any]]


TIME_TOLERANCE_SECONDS = 0.001
"""Times in the file are whole microseconds; the video's are exact."""


def read_poses(path: Path | str) -> PoseTable:
    """Open a Parquet file of poses; its rows are read later, a few at a time.

    Raises:
        SourceNotFound: There is no such file.
        InputError: It is no Parquet file of ours.
    """
    return PoseTable(Path(path))


class PoseTable:
    """The poses of a run, on disk.

    Args:
        path: The file.

    Attributes:
        path: As given.
        metadata: Of the run.
        rows: Person-frames in the file.

    Raises:
        SourceNotFound: There is no such file.
        InputError: It is no Parquet file of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self.metadata = self._check_metadata(file)
            self._schema = pose_schema(len(self.metadata.keypoints))
            self._check_columns(file)
            self.rows: int = file.metadata.num_rows

    def frames(self) -> Iterator[tuple[int, Tracks]]:
        """Every frame that has people, in order.

        Yields:
            The frame's index, and its tracks; their header carries the frame's index and time (in
            microseconds) and the size of the run's frames.

        Raises:
            InputError: The rows are damaged, out of order, or not what a tracker says.
        """
        rest: Batch | None = None
        last = -1
        for batch in self._batches():
            columns = batch if rest is None else {k: np.concatenate([rest[k], batch[k]]) for k in batch}
            frame = columns["frame"]
            if frame[0] <= last or (np.diff(frame) < 0).any():
                raise self._damaged("its frames are not in order")
            starts = np.flatnonzero(np.diff(frame, prepend=frame[0] - 1))
            if np.diff(starts, append=len(frame)).max() > MAX_PEOPLE:
                raise self._damaged(f"it has more than {MAX_PEOPLE} people in one frame")
            # The last frame may go on in the next batch.
            for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
                last = int(frame[start])
                yield last, self._tracks(columns, slice(start, stop))
            rest = {k: v[starts[-1] :] for k, v in columns.items()}
        if rest is not None:
            yield int(rest["frame"][0]), self._tracks(rest, slice(None))

    def cursor(self) -> PoseCursor:
        """Start a reader that walks along with a video's frames."""
        return PoseCursor(self)

    def _open(self) -> pq.ParquetFile:
        if not self.path.exists():
            raise SourceNotFound(f"{self.path} does not exist", hint="check the path")
        if not self.path.is_file():
            raise self._foreign("it is not a file")
        try:
            return pq.ParquetFile(
                self.path,
                memory_map=False,
                pre_buffer=False,
                page_checksum_verification=True,
                buffer_size=1 << 20,
                thrift_string_size_limit=64 << 20,
                thrift_container_size_limit=1 << 20,
            )
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._foreign(_first_line(error)) from error

    def _check_metadata(self, file: pq.ParquetFile) -> RunMetadata:
        text = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
        if text is None:
            raise self._foreign("it lacks the metadata that posetask writes")
        if len(text) > _MAX_METADATA:
            raise self._foreign(f"its metadata is larger than {_MAX_METADATA} bytes")
        try:
            metadata = RunMetadata.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise self._foreign(
                f"its metadata is wrong: {where} {first['msg']}".replace("  ", " ")
            ) from error
        if metadata.format_version > FORMAT_VERSION:
            raise InputError(
                f"{self.path} is of format version {metadata.format_version}, this program reads up to "
                f"{FORMAT_VERSION}",
                hint=f"it was written by {metadata.tool}; update posetask",
            )
        return metadata

    def _check_columns(self, file: pq.ParquetFile) -> None:
        found = file.schema_arrow
        for field in self._schema:
            at = found.get_field_index(field.name)
            if at < 0:
                raise self._foreign(f"it lacks the column {field.name}")
            if not _same(found.field(at).type, field.type):
                raise self._foreign(f"its column {field.name} is {found.field(at).type}, not {field.type}")
        for i in range(file.metadata.num_row_groups):
            if file.metadata.row_group(i).total_byte_size > _MAX_ROW_GROUP:
                raise self._foreign("a row group in it is larger than 1 GiB")

    def _batches(self) -> Iterator[Batch]:
        if self.rows == 0:  # older versions of Arrow fail on a file without row groups
            return
        with self._open() as file:
            missing = self.rows
            try:
                for batch in file.iter_batches(
                    batch_size=4096, columns=self._schema.names, use_threads=False
                ):
                    if batch.num_rows:
                        missing -= batch.num_rows
                        yield {name: self._column(batch, name) for name in self._schema.names}
            except (OSError, pa.ArrowException) as error:
                raise self._damaged(_first_line(error)) from error
            if missing:  # Arrow stops without a word where a column is shorter than the file says
                raise self._damaged(f"it has {self.rows - missing} rows and should have {self.rows}")

    def _column(self, batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
        array = batch.column(name)
        values = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
        if array.null_count or values.null_count:
            raise self._damaged(f"its column {name} has nulls")
        numbers = _numpy(values)
        if name == "keypoints":
            return numbers.reshape(batch.num_rows, -1, 3)
        return numbers.reshape(batch.num_rows, -1) if name == "bbox" else numbers

    def _tracks(self, columns: Batch, rows: slice) -> Tracks:
        header = FrameHeader(
            index=int(columns["frame"][rows][0]),
            pts=int(columns["pts_us"][rows][0]),
            time_base=_MICROSECONDS,
            width=self.metadata.width,
            height=self.metadata.height,
            frame_rate=self.metadata.frame_rate,
        )
        triples = columns["keypoints"][rows]
        return Tracks(
            header,
            columns["track_id"][rows],
            columns["bbox"][rows],
            columns["score"][rows],
            columns["det_index"][rows],
            np.ascontiguousarray(triples[..., :2]),
            np.ascontiguousarray(triples[..., 2]),
            interpolated=bool(columns["interpolated"][rows].any()),
        )

    def _foreign(self, why: str) -> InputError:
        return InputError(f"{self.path} is no Parquet file of poses: {why}", hint=_HINT)

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self.path} is damaged: {why}", hint="run posetask run again to make it anew")


class PoseCursor:
    """Gives each frame of a video its tracks; frames must be asked for in order.

    Args:
        table: The poses.
    """

    def __init__(self, table: PoseTable) -> None:
        self._table = table
        self._keypoints = len(table.metadata.keypoints)
        self._frames = table.frames()
        self._next: tuple[int, Tracks] | None = next(self._frames, None)

    def at(self, header: FrameHeader) -> Tracks:
        """Tracks of the frame with this index, under the given header; empty where nobody was seen.

        Raises:
            InputError: The file is damaged, or its frames have other times than the video's.
        """
        while self._next is not None and self._next[0] < header.index:
            self._next = next(self._frames, None)
        if self._next is None or self._next[0] != header.index:
            return Tracks.empty(header, self._keypoints)
        found = self._next[1]
        if abs(found.header.time - header.time) > TIME_TOLERANCE_SECONDS:
            raise InputError(
                f"{self._table.path} is not of this video: its frame {header.index} is at "
                f"{found.header.time:.3f} s, the video's at {header.time:.3f} s",
                hint="give the video that the run was made of, with the run's --start",
            )
        return replace(found, header=header)


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(wanted):
        if not pa.types.is_fixed_size_list(found) or found.list_size != wanted.list_size:
            return False
        return bool(found.value_type == wanted.value_type)
    return bool(found == wanted)


def _numpy(array: pa.Array) -> npt.NDArray[Any]:
    # Not to_numpy(): it imports pandas where that is installed, which takes a second.
    data = array.buffers()[1]
    if pa.types.is_boolean(array.type):
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[array.offset : array.offset + len(array)].astype(np.bool_)
    return np.frombuffer(data, array.type.to_pandas_dtype())[array.offset : array.offset + len(array)]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
