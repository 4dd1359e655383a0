"""A file is there complete or not at all, whatever else happens."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from posetask.errors import OutputError, OutputExists, StorageFull
from posetask.storage.durable import (
    Output,
    publish,
    refuse_existing,
    storage_errors,
    write_durably,
    writing_whole,
)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_fullness_is_storage_full(tmp_path: Path, code: int) -> None:
    with pytest.raises(StorageFull, match="no space left to write"), storage_errors(tmp_path / "x"):
        raise OSError(code, os.strerror(code))


class TestPublish:
    """Of two writers exactly one wins."""

    def test_an_output_that_appeared_meanwhile_is_kept(self, tmp_path: Path) -> None:
        ours, target = tmp_path / ".ours", tmp_path / "out.mp4"
        ours.write_text("ours")
        target.write_text("theirs")
        with pytest.raises(OutputExists):
            publish(ours, target, overwrite=False)
        assert (ours.read_text(), target.read_text()) == ("ours", "theirs")
        publish(ours, target, overwrite=True)
        assert target.read_text() == "ours"
        assert not ours.exists()

    def test_file_systems_without_hard_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        for text in ("first", "second"):
            (tmp_path / f".{text}").write_text(text)
        publish(tmp_path / ".first", tmp_path / "out.mp4", overwrite=False)
        with pytest.raises(OutputExists):
            publish(tmp_path / ".second", tmp_path / "out.mp4", overwrite=False)
        assert (tmp_path / "out.mp4").read_text() == "first"

    def test_a_failed_write_keeps_what_was_there(self, tmp_path: Path) -> None:
        write_durably(tmp_path / "file", b"before")
        with pytest.raises(TypeError):
            write_durably(tmp_path / "file", "no bytes")  # type: ignore[arg-type]
        assert (tmp_path / "file").read_bytes() == b"before"
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_where_the_move_fails_no_empty_file_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        (tmp_path / ".ours").write_text("ours")
        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(os, "replace", refuse)
        with pytest.raises(OutputError, match="Operation not permitted"):
            publish(tmp_path / ".ours", tmp_path / "out.mp4", overwrite=False)
        assert names_in(tmp_path) == {".ours"}


@pytest.mark.parametrize(
    ("code", "fails"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_a_folder_that_cannot_be_synced_is_no_error_but_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails: bool
) -> None:
    real = os.fsync

    def sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    if fails:
        with pytest.raises(OutputError, match="Input/output error"):
            write_durably(tmp_path / "file", b"data")
    else:
        write_durably(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


class TestRefusal:
    """Before any work is done."""

    def test_what_is_there_stays_unless_it_may_be_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        for name in ("file", "link"):
            with pytest.raises(OutputExists, match="is there already") as caught:
                refuse_existing(tmp_path / name, overwrite=False)
            assert "--force" in str(caught.value.hint)
            refuse_existing(tmp_path / name, overwrite=True)
        refuse_existing(tmp_path / "nothing", overwrite=False)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_is_never_replaced(self, tmp_path: Path, overwrite: bool) -> None:
        with pytest.raises(OutputError, match="is a folder"):
            refuse_existing(tmp_path, overwrite=overwrite)


class TestWhole:
    """Files that are written piece by piece."""

    def test_the_name_appears_at_the_end(self, tmp_path: Path) -> None:
        with writing_whole(tmp_path / "file") as file:
            file.write(b"data")
            assert not (tmp_path / "file").exists()
        assert (tmp_path / "file").read_bytes() == b"data"
        assert names_in(tmp_path) == {"file"}

    @pytest.mark.parametrize(
        ("trouble", "seen"),
        [
            (ValueError("of the caller"), ValueError),
            (OSError(errno.ENOSPC, "No space left on device"), StorageFull),
            (OSError(errno.EIO, "Input/output error"), OutputError),
        ],
    )
    def test_trouble_on_the_way_keeps_what_was_there(
        self, tmp_path: Path, trouble: Exception, seen: type[Exception]
    ) -> None:
        (tmp_path / "file").write_text("before")

        def write() -> None:
            with writing_whole(tmp_path / "file", overwrite=True) as file:
                file.write(b"half")
                raise trouble

        with pytest.raises(seen):
            write()
        assert (tmp_path / "file").read_text() == "before"
        assert names_in(tmp_path) == {"file"}

    def test_a_missing_folder_is_said_with_a_hint(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="No such file or directory") as caught:
            Output(tmp_path / "none" / "file")
        assert caught.value.hint
