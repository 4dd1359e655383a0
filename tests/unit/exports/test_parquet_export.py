"""The canonical result: what is written comes back exactly, and a foreign file is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from posetask.errors import InputError, SourceNotFound, StageFailed
from posetask.exports import RunMetadata, read_poses
from posetask.exports import parquet as parquet_module
from posetask.exports.parquet import ParquetWriter
from posetask.exports.parquet_reader import MAX_PEOPLE
from posetask.exports.parquet_schema import pose_schema
from posetask.messages import FrameHeader, Tracks

MakeTracks = Callable[..., Tracks]
FIELDS = ("ids", "xyxy", "scores", "det_index", "keypoints", "keypoint_scores")


def same(a: Tracks, b: Tracks) -> bool:
    equal = (
        np.array_equal(getattr(a, f), getattr(b, f), equal_nan=f not in {"ids", "det_index"}) for f in FIELDS
    )
    return all(equal) and a.interpolated == b.interpolated


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, list[Tracks]]:
    """Frames in order with gaps, any people, any float32 (infinities and NaN included)."""
    k = draw(st.sampled_from([1, 5, 17]))
    floats = st.floats(width=32, allow_nan=True, allow_infinity=True)
    int32 = st.integers(-(2**31), 2**31 - 1)
    run = []
    for index in sorted(draw(st.sets(st.integers(0, 2**31 - 1), max_size=6))):
        m = draw(st.integers(0, 3))
        header = FrameHeader(
            index=index,
            pts=draw(st.integers(-(2**50), 2**50)),
            time_base=Fraction(1, draw(st.sampled_from([1000, 12800, 90000]))),
            width=640,
            height=480,
        )

        def array(*shape: int) -> npt.NDArray[np.float32]:
            return draw(hnp.arrays(np.float32, shape, elements=floats))

        ids = np.array(draw(st.lists(int32, min_size=m, max_size=m)), np.int32)
        det = np.array(draw(st.lists(int32, min_size=m, max_size=m)), np.int32)
        interpolated = draw(st.booleans())
        run.append(
            Tracks(
                header,
                ids,
                array(m, 4),
                array(m),
                det,
                array(m, k, 2),
                array(m, k),
                interpolated=interpolated,
            )
        )
    return k, run


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, run: tuple[int, list[Tracks]]) -> None:
    k, frames = run
    path = tmp_path_factory.mktemp("round") / "a.parquet"
    metadata = RunMetadata(
        source="x", width=640, height=480, keypoints=tuple(f"k{i}" for i in range(k)), links=()
    )
    writer = ParquetWriter(path, metadata)
    for tracks in frames:
        writer.write(tracks)
    assert writer.close() == path
    table = read_poses(path)
    assert table.metadata == metadata.model_copy(update={"frames": len(frames)})
    back = list(table.frames())
    people = [tracks for tracks in frames if len(tracks)]
    assert [index for index, _ in back] == [tracks.header.index for tracks in people]
    assert table.rows == sum(map(len, people))
    for (index, found), wanted in zip(back, people, strict=True):
        assert same(found, wanted)
        assert found.header.index == index
        assert abs(
            found.header.pts * found.header.time_base - wanted.header.pts * wanted.header.time_base
        ) <= Fraction(1, 2_000_000)


@pytest.fixture
def written(tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks) -> Path:
    path = tmp_path / "a.parquet"
    writer = ParquetWriter(path, metadata)
    for i in range(30):
        writer.write(make_tracks(i, i % 4, interpolated=i % 2 == 1))
    return writer.close(31)


def test_columns_are_the_documented_ones(written: Path) -> None:
    table = pq.read_table(written)
    assert table.schema.equals(pose_schema(17))
    assert [str(t) for t in table.schema.types[:4]] == ["int32", "int64", "int32", "float"]
    assert table.schema.field("bbox").type.list_size == 4
    assert table.schema.field("keypoints").type.list_size == 51
    assert table["frame"].to_pylist() == [i for i in range(30) for _ in range(i % 4)]
    assert table["pts_us"][0].as_py() == 33367
    assert table["interpolated"].to_pylist()[:4] == [True, False, False, True]
    parquet = pq.read_metadata(written)
    assert {parquet.row_group(0).column(i).compression for i in range(parquet.num_columns)} == {"ZSTD"}


def test_keypoints_are_triples_of_x_y_and_score(written: Path, make_tracks: MakeTracks) -> None:
    row = np.array(pq.read_table(written)["keypoints"][0].as_py(), np.float32).reshape(17, 3)
    first = make_tracks(1, 1)
    assert np.array_equal(row[:, :2], first.keypoints[0])
    assert np.array_equal(row[:, 2], first.keypoint_scores[0])


def test_metadata_stand_in_the_file_and_in_a_table_that_was_read(
    written: Path, metadata: RunMetadata
) -> None:
    in_file = json.loads(pq.read_metadata(written).metadata[b"posetask"])
    in_table = json.loads(pq.read_table(written).schema.metadata[b"posetask"])
    assert in_file == in_table
    assert in_file["frames"] == 31
    assert in_file["detector_sha256"] == metadata.detector_sha256
    assert in_file["keypoints"][0] == "nose"
    assert in_file["tool"].startswith("posetask ")


def test_an_empty_run_is_a_valid_file(tmp_path: Path, metadata: RunMetadata) -> None:
    path = ParquetWriter(tmp_path / "a.parquet", metadata).close(0)
    assert list(read_poses(path).frames()) == []
    assert read_poses(path).metadata.frames == 0
    assert pq.read_table(path).num_rows == 0


def test_rows_leave_memory_group_by_group_and_frames_stay_whole(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_module, "ROW_GROUP", 100)
    writer = ParquetWriter(tmp_path / "a.parquet", metadata)
    sizes = [7, 60, 60, 0, 250, 3]  # 250: a crowd larger than a group
    frames = [make_tracks(i, size) for i, size in enumerate(sizes)]
    for tracks in frames:
        writer.write(tracks)
    path = writer.close()
    parquet = pq.read_metadata(path)
    groups = [parquet.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    assert groups == [7 + 60, 60, 250, 3]
    for (_, found), wanted in zip(read_poses(path).frames(), [t for t in frames if len(t)], strict=True):
        assert same(found, wanted)


def test_frames_are_read_whole_across_the_readers_batches(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    frames = [make_tracks(i, 700) for i in range(20)]  # 4096 rows a batch: frames lie across the cuts
    writer = ParquetWriter(tmp_path / "a.parquet", metadata)
    for tracks in frames:
        writer.write(tracks)
    back = list(read_poses(writer.close()).frames())
    assert len(back) == 20
    assert all(same(found, wanted) for (_, found), wanted in zip(back, frames, strict=True))


def test_cursor_gives_every_frame_of_the_video_its_people(written: Path, make_tracks: MakeTracks) -> None:
    cursor = read_poses(written).cursor()
    for index in [0, 1, 2, 3, 7, 8, 29, 30, 31]:
        header = replace(make_tracks(index, 0).header, run="again")
        tracks = cursor.at(header)
        assert tracks.header is header
        people = index % 4 if index < 30 else 0
        assert same(tracks, make_tracks(index, people, interpolated=bool(people) and index % 2 == 1))


def test_cursor_refuses_a_video_with_other_times(written: Path, make_tracks: MakeTracks) -> None:
    with pytest.raises(InputError, match=r"not of this video.*--start"):
        read_poses(written).cursor().at(replace(make_tracks(1, 0).header, pts=10_000))


def test_frames_out_of_order_are_a_broken_contract(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    writer = ParquetWriter(tmp_path / "a.parquet", metadata)
    writer.write(make_tracks(3, 1))
    for index in (3, 2):
        with pytest.raises(StageFailed, match=f"frame {index} was to be exported after frame 3"):
            writer.write(make_tracks(index, 1))
    writer.abort()


def test_other_keypoints_than_the_metadata_say_are_a_broken_contract(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    writer = ParquetWriter(tmp_path / "a.parquet", metadata)
    writer.write(make_tracks(0, 0, keypoints=5))  # nobody: nothing contradicts
    with pytest.raises(StageFailed, match="5 keypoints a person, not 17"):
        writer.write(make_tracks(1, 1, keypoints=5))
    writer.abort()


def test_writing_after_the_end_is_an_error(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    writer = ParquetWriter(tmp_path / "a.parquet", metadata)
    writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.write(make_tracks(0, 1))
    with pytest.raises(ValueError, match="is closed"):
        writer.finish()


def test_pictures_times_out_of_all_bounds_are_kept_within_int64(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    writer = ParquetWriter(tmp_path / "a.parquet", metadata)
    tracks = make_tracks(0, 1)
    writer.write(replace(tracks, header=replace(tracks.header, pts=2**62, time_base=Fraction(1))))
    assert pq.read_table(writer.close())["pts_us"][0].as_py() == 2**63 - 1


# Files of others ------------------------------------------------------------------------------------------


def columns(rows: int = 3) -> dict[str, pa.Array]:
    schema = pose_schema(17)

    def lists(width: int) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * width, np.float32)), width)

    return {
        "frame": pa.array(range(rows), pa.int32()),
        "pts_us": pa.array(range(rows), pa.int64()),
        "track_id": pa.array([1] * rows, pa.int32()),
        "score": pa.array([0.5] * rows, pa.float32()),
        "bbox": lists(4),
        "keypoints": lists(51),
        "det_index": pa.array([0] * rows, pa.int32()),
        "interpolated": pa.array([False] * rows, schema.field("interpolated").type),
    }


def save(path: Path, content: dict[str, pa.Array], metadata: bytes | None) -> Path:
    table = pa.table(content)
    pq.write_table(
        table.replace_schema_metadata({"posetask": metadata} if metadata is not None else None), path
    )
    return path


GOOD = b'{"source": "a", "width": 64, "height": 48}'


def test_a_file_made_with_other_tools_by_the_same_rules_is_read(tmp_path: Path) -> None:
    table = read_poses(save(tmp_path / "a.parquet", columns(), GOOD))
    assert [index for index, _ in table.frames()] == [0, 1, 2]


BROKEN_BEFORE = {
    "no metadata": (columns(), None, "lacks the metadata"),
    "metadata no JSON": (columns(), b"{", "metadata is wrong: Invalid JSON"),
    "metadata without source": (columns(), b'{"width": 64, "height": 48}', "metadata is wrong: source"),
    "metadata of zero width": (columns(), b'{"source":"a","width":0,"height":4}', "metadata is wrong: width"),
    "metadata of no keypoints": (columns(), GOOD[:-1] + b',"keypoints":[]}', "metadata is wrong: keypoints"),
    "metadata too large": (columns(), b" " * (1 << 20) + GOOD, "larger than 1048576 bytes"),
    "newer format": (columns(), GOOD[:-1] + b',"format_version":2}', "format version 2"),
    "other format": (columns(), GOOD[:-1] + b',"format":"else"}', "metadata is wrong: format"),
    "other skeleton": (columns(), GOOD[:-1] + b',"keypoints":["a"]}', "column keypoints is"),
    "missing column": ({k: v for k, v in columns().items() if k != "bbox"}, GOOD, "lacks the column bbox"),
    "wrong type": ({**columns(), "frame": pa.array(["a"] * 3)}, GOOD, "column frame is string, not int32"),
}


@pytest.mark.parametrize(("content", "metadata", "why"), BROKEN_BEFORE.values(), ids=list(BROKEN_BEFORE))
def test_a_foreign_parquet_is_refused_when_opened(
    tmp_path: Path, content: dict[str, pa.Array], metadata: bytes | None, why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read_poses(save(tmp_path / "a.parquet", content, metadata))
    assert caught.value.hint


BROKEN_WITHIN = {
    "out of order": ({"frame": pa.array([0, 2, 1], pa.int32())}, 3, "not in order"),
    "negative frame": ({"frame": pa.array([-1, 2, 3], pa.int32())}, 3, "not in order"),
    "nulls": ({"track_id": pa.array([1, None, 1], pa.int32())}, 3, "column track_id has nulls"),
    "crowd": (
        {"frame": pa.array([7] * (MAX_PEOPLE + 1), pa.int32())},
        MAX_PEOPLE + 1,
        "more than 10000 people",
    ),
}


@pytest.mark.parametrize(("change", "rows", "why"), BROKEN_WITHIN.values(), ids=list(BROKEN_WITHIN))
def test_wrong_rows_are_found_while_reading(
    tmp_path: Path, change: dict[str, pa.Array], rows: int, why: str
) -> None:
    table = read_poses(save(tmp_path / "a.parquet", {**columns(rows), **change}, GOOD))
    with pytest.raises(InputError, match=why) as caught:
        list(table.frames())
    assert caught.value.hint


def test_what_is_no_parquet_is_refused(tmp_path: Path, written: Path) -> None:
    with pytest.raises(SourceNotFound, match="does not exist"):
        read_poses(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="not a file"):
        read_poses(tmp_path)
    whole = written.read_bytes()
    for content in (b"", b"PAR1", b"hello" * 100, whole[:-1], whole[: len(whole) // 2]):
        path = tmp_path / "x.parquet"
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no Parquet file of poses") as caught:
            read_poses(path)
        assert "posetask run" in caught.value.hint


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), near_the_end=st.booleans(), value=st.integers(1, 255))
def test_a_flipped_byte_never_gives_a_traceback_or_wrong_poses(
    written: Path, make_tracks: MakeTracks, where: float, near_the_end: bool, value: int
) -> None:
    content = bytearray(written.read_bytes())
    at = int(where * (len(content) - 1))
    at = len(content) - 1 - at % 2000 if near_the_end else at
    content[at] ^= value
    path = written.with_name("flipped.parquet")
    path.write_bytes(content)
    hint, frames = "", []
    try:
        frames = list(read_poses(path).frames())
    except InputError as error:
        hint = error.hint
    assert bool(hint) != bool(frames)
    for index, tracks in frames:  # what the flip did not touch, or the footer's small print
        assert same(tracks, make_tracks(index, index % 4, interpolated=index % 2 == 1))
