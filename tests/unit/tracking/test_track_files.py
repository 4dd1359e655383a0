from __future__ import annotations

import errno
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from posetask.errors import InvalidParameters, OutputError, OutputExists, SourceNotFound, StorageFull
from posetask.tracking import ByteTrackParameters
from posetask.tracking import files as files_module
from posetask.tracking.files import check_output, read_detections, write_tracks
from posetask.tracking.stream import MAX_FRAMES, DetectionStream, TrackStream, track_stream

MOT = """1,-1,10,10,50,150,0.9,-1,-1,-1
1,-1,300,10,50,150,0.8

2,-1,12,10,50,150,0.95,-1,-1,-1
4,-1,16,10.5,50,150,0.9,-1,-1,-1
"""


def detections(frames: list[int], dtype: type = np.float32) -> DetectionStream:
    n = len(frames)
    boxes = np.tile(np.array([10, 10, 60, 160], dtype), (n, 1))
    return DetectionStream(np.array(frames, np.int32), boxes, np.full(n, 0.9, dtype))


@pytest.fixture
def tracks() -> TrackStream:
    return track_stream(detections([1, 2, 3]), ByteTrackParameters())


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_mot_text_is_read_as_float64_with_any_number_of_columns(tmp_path: Path) -> None:
    (tmp_path / "det.txt").write_text(MOT)
    stream = read_detections(tmp_path / "det.txt")
    assert stream.frame.tolist() == [1, 1, 2, 4]
    assert stream.xyxy.dtype == stream.scores.dtype == np.float64
    assert stream.xyxy[3].tolist() == [16, 10.5, 66, 160.5]
    assert stream.scores.tolist() == [0.9, 0.8, 0.95, 0.9]
    assert not stream.reordered


@pytest.mark.parametrize("text", ["", "\n\n", "# a comment\n", MOT.replace(",", " ")])
def test_empty_files_and_spaces_are_mot_text_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "det.txt").write_text(text)
    assert len(read_detections(tmp_path / "det.txt")) == (4 if " " in text and "#" not in text else 0)


@pytest.mark.parametrize(
    ("dtype", "kept"), [(np.float32, np.float32), (np.float64, np.float64), (int, np.float64)]
)
def test_an_npz_keeps_its_type(tmp_path: Path, dtype: type, kept: type) -> None:
    path = npz(tmp_path / "d.npz", frame=[1, 2], xyxy=np.ones((2, 4), dtype), score=np.ones(2, dtype))
    assert read_detections(path).xyxy.dtype == kept


def test_frames_out_of_order_are_sorted_stably_and_it_is_said(tmp_path: Path) -> None:
    path = npz(
        tmp_path / "d.npz", frame=[2, 1, 2, 1], xyxy=np.ones((4, 4)), score=np.array([0.1, 0.2, 0.3, 0.4])
    )
    stream = read_detections(path)
    assert stream.reordered
    assert stream.frame.tolist() == [1, 1, 2, 2]
    assert stream.scores.tolist() == [0.2, 0.4, 0.1, 0.3]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("det.txt", b"not, numbers, at, all, x, y, z\n", "no MOT text"),
        ("det.txt", b"1,-1,10,10,50\n", "no MOT text"),
        ("det.txt", b"\xff\xfe\x00binary", "no MOT text"),
        ("det.txt", b"1,-1,nan,10,50,150,0.9\n", "detection 1 has a number that is not finite"),
        ("det.txt", b"1,-1,1,1,5,5,0.9\n1,-1,1,1,5,5,inf\n", "detection 2 has a number that is not finite"),
        ("det.txt", b"0,-1,10,10,50,150,0.9\n", "detection 1 has a frame"),
        ("det.txt", b"1.5,-1,10,10,50,150,0.9\n", "detection 1 has a frame"),
        ("det.txt", b"99999999999,-1,10,10,50,150,0.9\n", "detection 1 has a frame"),
        ("det.npz", b"PK no zip", "no .npz of detections"),
        ("det.npz", b"", "no .npz of detections"),
        ("det.json", b"{}", "unknown format"),
    ],
)
def test_what_holds_no_detections_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidParameters, match=says) as caught:
        read_detections(tmp_path / name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"frame": [1], "xyxy": np.ones((1, 4))}, "has no score"),
        ({"boxes": np.ones((1, 4))}, "has no frame, xyxy, score"),
        ({"frame": [1], "xyxy": np.ones((2, 4)), "score": [1.0]}, "do not fit"),
        ({"frame": 1, "xyxy": np.ones((1, 4)), "score": [1.0]}, "do not fit"),
        ({"frame": ["a"], "xyxy": np.ones((1, 4)), "score": [1.0]}, "must be numbers"),
        ({"frame": np.array([{}], object), "xyxy": np.ones((1, 4)), "score": [1.0]}, "no .npz of detections"),
        ({"frame": [np.nan], "xyxy": np.ones((1, 4)), "score": [1.0]}, "has a frame"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidParameters, match=says) as caught:
        read_detections(npz(tmp_path / "d.npz", **arrays))
    assert caught.value.hint


def test_an_npz_with_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, frame=np.arange(1, 500), xyxy=np.ones((499, 4)), score=np.ones(499))
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("xyxy.npy").header_offset
    data = bytearray(path.read_bytes())
    data[start + 60 : start + 90] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(InvalidParameters, match=r"no \.npz of detections"):
        read_detections(path)


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, frame=np.ones(10_000, int), xyxy=np.ones((10_000, 4)), score=np.ones(10_000))
    monkeypatch.setattr(files_module, "MAX_BYTES", 100_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(InvalidParameters, match="unpacks to more"):
        read_detections(path)
    monkeypatch.setattr(files_module, "MAX_BYTES", 10)
    with pytest.raises(InvalidParameters, match="is larger"):
        read_detections(path)


def test_a_missing_file_and_a_folder_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for name in ("missing.txt", "folder.txt"):
        with pytest.raises(SourceNotFound, match=name):
            read_detections(tmp_path / name)


@pytest.mark.parametrize(("name", "reader"), [("det.txt", "_read_text"), ("det.npz", "_read_arrays")])
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: str
) -> None:
    def fail(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = tmp_path / name
    path.write_text(MOT)
    monkeypatch.setattr(
        files_module, reader, fail
    )  # root may read everything, so rights cannot be taken away
    with pytest.raises(InvalidParameters, match="cannot be read: Permission denied"):
        read_detections(path)


def test_mot_text_is_written_with_what_reads_back_as_the_same_score(
    tmp_path: Path, tracks: TrackStream
) -> None:
    write_tracks(tmp_path / "tracks.txt", tracks)
    lines = (tmp_path / "tracks.txt").read_text().splitlines()
    assert lines[0] == "1,1,10.0000,10.0000,50.0000,150.0000,0.9,-1,-1,-1"
    assert len(lines) == 3
    assert np.float32(lines[0].split(",")[6]) == tracks.scores[0]


def test_an_npz_is_written_in_the_trackers_order(tmp_path: Path, tracks: TrackStream) -> None:
    write_tracks(tmp_path / "tracks.npz", tracks)
    with np.load(tmp_path / "tracks.npz") as stored:
        assert sorted(stored) == ["det_index", "frame", "id", "score", "tlwh"]
        assert stored["frame"].tolist() == [1, 2, 3]
        assert stored["id"].dtype == stored["det_index"].dtype == np.int32
        assert stored["score"].dtype == np.float32
        np.testing.assert_array_equal(stored["tlwh"], tracks.tlwh)


@pytest.mark.parametrize("name", ["tracks.txt", "tracks.npz"])
def test_no_tracks_are_a_file_too(tmp_path: Path, name: str) -> None:
    write_tracks(tmp_path / name, track_stream(detections([]), ByteTrackParameters()))
    assert (tmp_path / name).is_file()
    if name.endswith("npz"):
        with np.load(tmp_path / name) as stored:
            assert stored["tlwh"].shape == (0, 4)


def test_an_existing_output_stays_unless_forced(tmp_path: Path, tracks: TrackStream) -> None:
    path = tmp_path / "tracks.txt"
    path.write_text("mine")
    with pytest.raises(OutputExists, match="there already"):
        write_tracks(path, tracks)
    assert path.read_text() == "mine"
    write_tracks(path, tracks, force=True)
    assert path.read_text().startswith("1,1,")
    assert [entry.name for entry in tmp_path.iterdir()] == ["tracks.txt"]


def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for path, kind in (
        (tmp_path / "missing" / "t.txt", OutputError),
        (tmp_path / "folder.txt", OutputError),
        (tmp_path / "t.mp4", InvalidParameters),
    ):
        with pytest.raises(kind) as caught:
            check_output(path, force=True)
        assert caught.value.hint


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EACCES, OutputError)])
def test_a_failed_write_leaves_the_old_file_and_no_scrap(
    tmp_path: Path, tracks: TrackStream, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[OutputError]
) -> None:
    def fail(_: TrackStream) -> list[str]:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "tracks.txt"
    path.write_text("mine")
    monkeypatch.setattr(files_module, "_mot_lines", fail)
    with pytest.raises(kind, match=f"write {re.escape(str(path))}"):
        write_tracks(path, tracks, force=True)
    assert path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["tracks.txt"]


def test_empty_frames_are_calls_too() -> None:
    out = track_stream(detections([1, 5]), ByteTrackParameters(track_buffer=1), frames=9)
    assert out.frames == 9
    # by frame 5 the first track has long expired: another one starts, and is never confirmed
    assert out.frame.tolist() == [1]
    assert track_stream(detections([1, 5]), ByteTrackParameters()).ids.tolist() == [1, 1]


def test_the_frame_rate_reaches_the_tracker() -> None:
    for frame_rate, ids in ((30.0, [1, 1]), (1.0, [1])):
        out = track_stream(detections([1, 8]), ByteTrackParameters(), frame_rate=frame_rate)
        assert out.ids.tolist() == ids


def test_detections_after_the_declared_end_and_endless_streams_are_refused() -> None:
    with pytest.raises(InvalidParameters, match="frame 5, but 4"):
        track_stream(detections([1, 5]), ByteTrackParameters(), frames=4)
    with pytest.raises(InvalidParameters, match="more than"):
        track_stream(detections([1]), ByteTrackParameters(), frames=MAX_FRAMES + 1)


def test_no_frames_at_all_are_no_tracks() -> None:
    out = track_stream(detections([]), ByteTrackParameters())
    assert (out.frames, len(out), out.tracks) == (0, 0, 0)
    assert out.scores.dtype == np.float32
