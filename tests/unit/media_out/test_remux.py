"""One faststart MP4 from the segments, published once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import InvalidParameters, OutputError, OutputExists, StorageFull
from posetask.media.chain import SegmentChain
from posetask.media.manifest import PLAYLIST, Manifest
from posetask.media.remux import remux
from posetask.media.segments import SegmentWriter

TICKS = [i * 512 for i in range(30)]


def boxes(path: Path) -> list[str]:
    """Names of the top-level boxes, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def test_the_index_comes_before_the_pictures(tmp_path: Path, kit: SimpleNamespace) -> None:
    kit.write_stream(tmp_path / "s", TICKS)
    remux(tmp_path / "s", tmp_path / "out.mp4")
    names = boxes(tmp_path / "out.mp4")
    assert names[0] == "ftyp"
    assert names.index("moov") < names.index("mdat")
    assert "moof" not in names


def test_nothing_is_encoded_again(tmp_path: Path, kit: SimpleNamespace) -> None:
    kit.write_stream(tmp_path / "s", TICKS)
    remux(tmp_path / "s", tmp_path / "out.mp4")
    contents = []
    for path in (tmp_path / "s" / PLAYLIST, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            contents.append([bytes(p) for p in container.demux(video=0) if p.size])
    assert len(contents[0]) == 30
    assert contents[0] == contents[1]


def test_an_existing_output_is_refused_and_left_alone(tmp_path: Path, kit: SimpleNamespace) -> None:
    kit.write_stream(tmp_path / "s", TICKS)
    output = tmp_path / "out.mp4"
    output.write_text("precious")
    with pytest.raises(OutputExists, match=r"out\.mp4 is there already; .*--force"):
        remux(tmp_path / "s", output)
    assert output.read_text() == "precious"
    assert remux(tmp_path / "s", output, overwrite=True).frames == 30
    assert boxes(output)[0] == "ftyp"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "s"]


def test_an_unfinished_stream_gives_what_is_complete(tmp_path: Path, kit: SimpleNamespace) -> None:
    writer = SegmentWriter(tmp_path / "s", kit.source_info(), kit.quick())
    for index in range(26):
        writer.write(kit.numbered(index), index * 512, 512)
    writer.abort()
    complete = Manifest.load(tmp_path / "s").frames
    assert remux(tmp_path / "s", tmp_path / "out.mp4").frames == complete == 10
    assert [f.number for f in kit.shown(tmp_path / "out.mp4")] == list(range(10))


def test_a_stream_without_frames_is_refused(tmp_path: Path, kit: SimpleNamespace) -> None:
    SegmentWriter(tmp_path / "s", kit.source_info(), kit.quick()).close()
    with pytest.raises(InvalidParameters, match="no complete segment"):
        remux(tmp_path / "s", tmp_path / "out.mp4")


def test_a_folder_without_a_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"holds no manifest\.json"):
        remux(tmp_path, tmp_path / "out.mp4")


def test_a_missing_segment_is_named_as_the_reason(tmp_path: Path, kit: SimpleNamespace) -> None:
    manifest = kit.write_stream(tmp_path / "s", TICKS)
    (tmp_path / "s" / manifest.segments[1].name).unlink()
    with pytest.raises(OutputError, match="lacks segments"):
        remux(tmp_path / "s", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_segment_of_the_right_size_that_is_no_media_is_an_error_in_words(
    tmp_path: Path, kit: SimpleNamespace
) -> None:
    manifest = kit.write_stream(tmp_path / "s", TICKS)
    segment = tmp_path / "s" / manifest.segments[1].name
    segment.write_bytes(bytes(segment.stat().st_size))
    with pytest.raises(OutputError):
        remux(tmp_path / "s", tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_an_output_folder_that_is_missing_is_an_error_in_words(tmp_path: Path, kit: SimpleNamespace) -> None:
    kit.write_stream(tmp_path / "s", TICKS)
    with pytest.raises(OutputError, match=r"cannot write .*absent"):
        remux(tmp_path / "s", tmp_path / "absent" / "out.mp4")


@pytest.mark.parametrize("name", ["a:b.mp4", "%03d.mp4", "-o.mp4", "ünï cödé.mp4", "http:x.mp4"])
def test_awkward_names_are_names(
    tmp_path: Path, kit: SimpleNamespace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.write_stream(tmp_path / "s", TICKS[:3])
    monkeypatch.chdir(tmp_path)
    assert remux(Path("s"), Path(name)).frames == 3
    assert boxes(tmp_path / name)[0] == "ftyp"


def test_no_space_is_storage_full_and_leaves_nothing(tmp_path: Path, kit: SimpleNamespace) -> None:
    kit.write_stream(tmp_path / "s", TICKS)
    script = f"""
        import resource
        from pathlib import Path
        from posetask.errors import StorageFull
        from posetask.media.remux import remux
        folder = Path({str(tmp_path)!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            remux(folder / "s", folder / "out.mp4")
        except StorageFull as error:
            print(f"{{error.exit_code}} {{error}}")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert done.stdout.startswith(f"{StorageFull.exit_code} no space left to write {tmp_path / 'out.mp4'}")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    moves=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=12),
)
def test_the_chain_reads_like_one_file(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], moves: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    paths, whole = [], b""
    for number, size in enumerate(sizes):
        paths.append(folder / str(number))
        data = bytes((number * 41 + i) % 256 for i in range(size))
        paths[-1].write_bytes(data)
        whole += data
    with SegmentChain(paths) as chain:
        assert chain.readall() == whole
        assert chain.seek(0, os.SEEK_END) == len(whole)
        for offset, count in moves:
            chain.seek(offset)
            got = b""
            while len(got) < count and (more := chain.read(count - len(got))):
                got += more
            assert got == whole[offset : offset + count]
            assert chain.tell() == max(offset, 0) + len(got)
