"""A result is there whole, or not at all; and nothing is overwritten by accident."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from posetask.errors import InvalidParameters, OutputError, OutputExists, StorageFull
from posetask.exports import FORMATS, RunMetadata, check_targets, open_writers, read_poses
from posetask.messages import Tracks
from posetask.storage import durable

MakeTracks = Callable[..., Tracks]
SUFFIXES = {"parquet": ".parquet", "coco": ".coco.json", "mot": ".mot.txt", "jsonl": ".jsonl"}


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_formats_are_written_side_by_side(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    writers = open_writers(tmp_path / "walk.v2", FORMATS, metadata)
    for i in range(3):
        writers.write(make_tracks(i, 2))
    assert not any(name.startswith("walk") for name in listing(tmp_path))  # nobody sees half a file
    paths = writers.close(3)
    assert paths == {name: tmp_path / f"walk.v2{suffix}" for name, suffix in SUFFIXES.items()}
    assert listing(tmp_path) == {path.name for path in paths.values()}
    assert all(path.stat().st_size > 0 for path in paths.values())
    assert read_poses(paths["parquet"]).metadata.frames == 3


def test_results_have_the_permissions_of_any_new_file(tmp_path: Path, metadata: RunMetadata) -> None:
    paths = open_writers(tmp_path / "a", FORMATS, metadata).close()
    plain = tmp_path / "plain"
    plain.touch()
    wanted = stat.S_IMODE(plain.stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths.values()} == {wanted}


def test_no_formats_write_nothing(tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks) -> None:
    writers = open_writers(tmp_path / "a", (), metadata)
    writers.write(make_tracks(0, 1))
    assert writers.close() == {}
    assert listing(tmp_path) == set()


def test_unknown_formats_are_named_with_those_that_there_are(tmp_path: Path, metadata: RunMetadata) -> None:
    with pytest.raises(
        InvalidParameters, match="unknown formats: csv, xml; there are parquet, coco, mot, jsonl"
    ):
        open_writers(tmp_path / "a", ["parquet", "csv", "xml"], metadata)
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("taken", FORMATS)
def test_an_existing_result_stops_before_anything_is_touched(
    tmp_path: Path, metadata: RunMetadata, taken: str
) -> None:
    target = tmp_path / f"a{SUFFIXES[taken]}"
    target.write_text("mine")
    for call in (
        lambda: check_targets(tmp_path / "a", FORMATS),
        lambda: open_writers(tmp_path / "a", FORMATS, metadata),
    ):
        with pytest.raises(OutputExists, match="--force"):
            call()
    assert listing(tmp_path) == {target.name}
    assert target.read_text() == "mine"


def test_overwrite_replaces_only_at_the_end(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    target = tmp_path / "a.mot.txt"
    target.write_text("old")
    writers = open_writers(tmp_path / "a", ["mot"], metadata, overwrite=True)
    writers.write(make_tracks(0, 1))
    assert target.read_text() == "old"
    writers.close()
    assert target.read_text().startswith("1,1,")


def test_a_folder_is_never_replaced(tmp_path: Path, metadata: RunMetadata) -> None:
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        open_writers(tmp_path / "a", FORMATS, metadata, overwrite=True)
    assert listing(tmp_path) == {"a.parquet"}


def test_a_dangling_link_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists):
        check_targets(tmp_path / "a", ["jsonl"])


def test_a_file_made_meanwhile_is_not_lost(tmp_path: Path, metadata: RunMetadata) -> None:
    writers = open_writers(tmp_path / "a", FORMATS, metadata)
    (tmp_path / "a.parquet").write_text("of another run")
    with pytest.raises(OutputExists):
        writers.close()
    assert (tmp_path / "a.parquet").read_text() == "of another run"
    assert listing(tmp_path) == {"a.parquet"}


def test_file_systems_without_hard_links_work_too(
    tmp_path: Path, metadata: RunMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    open_writers(tmp_path / "a", ["jsonl"], metadata).close()
    assert listing(tmp_path) == {"a.jsonl"}
    writers = open_writers(tmp_path / "b", ["jsonl"], metadata)
    (tmp_path / "b.jsonl").write_text("of another run")
    with pytest.raises(OutputExists):
        writers.close()
    assert (tmp_path / "b.jsonl").read_text() == "of another run"


def test_abort_leaves_nothing(tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks) -> None:
    writers = open_writers(tmp_path / "a", FORMATS, metadata)
    writers.write(make_tracks(0, 2))
    writers.abort()
    writers.abort()
    assert listing(tmp_path) == set()


def test_abort_after_close_keeps_the_results(tmp_path: Path, metadata: RunMetadata) -> None:
    writers = open_writers(tmp_path / "a", FORMATS, metadata)
    writers.close()
    writers.abort()
    assert listing(tmp_path) == {f"a{suffix}" for suffix in SUFFIXES.values()}


def test_leaving_the_context_without_closing_aborts(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks
) -> None:
    with open_writers(tmp_path / "a", FORMATS, metadata) as writers:
        writers.write(make_tracks(0, 1))
    assert listing(tmp_path) == set()
    with open_writers(tmp_path / "b", ["mot"], metadata) as writers:
        writers.close()
    assert listing(tmp_path) == {"b.mot.txt"}


def test_a_missing_folder_is_said_with_a_hint(tmp_path: Path, metadata: RunMetadata) -> None:
    with pytest.raises(OutputError, match="No such file or directory") as caught:
        open_writers(tmp_path / "none" / "a", FORMATS, metadata)
    assert caught.value.hint


def full_disk(*_: object) -> BinaryIO:
    """The kernel's own full device in place of the temporary file: every write to it is refused."""
    return Path("/dev/full").open("wb", buffering=1 << 20)


needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def write_all(stem: Path, name: str, metadata: RunMetadata, frames: list[Tracks]) -> None:
    with open_writers(stem, [name], metadata) as writers:
        for tracks in frames:
            writers.write(tracks)
        writers.close()


@needs_dev_full
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("frames", [1, 400], ids=["at the end", "on the way"])
def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path,
    metadata: RunMetadata,
    make_tracks: MakeTracks,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    frames: int,
) -> None:
    monkeypatch.setattr(durable, "open_temporary", full_disk)
    crowd = make_tracks(0, 1 if frames == 1 else 200)
    run = [replace(crowd, header=replace(crowd.header, index=i)) for i in range(frames)]
    with pytest.raises(StorageFull, match="no space left to write") as caught:
        write_all(tmp_path / "a", name, metadata, run)
    assert caught.value.retryable
    assert caught.value.hint
    assert listing(tmp_path) == set()


@needs_dev_full
def test_when_one_file_cannot_be_finished_none_is_published(
    tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = durable.open_temporary
    monkeypatch.setattr(
        durable,
        "open_temporary",
        lambda path: full_disk() if "mot" in path.name else ordinary(path),
    )
    writers = open_writers(tmp_path / "a", FORMATS, metadata)
    writers.write(make_tracks(0, 1))
    with pytest.raises(StorageFull):
        writers.close()
    assert listing(tmp_path) == set()
