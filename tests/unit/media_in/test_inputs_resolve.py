"""What IN may be: a file, a folder, a glob; told by content."""

from __future__ import annotations

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import InputError, NotAVideo, SourceNotFound
from posetask.media.decode import VideoReader
from posetask.media.images import ImageReader
from posetask.media.inputs import open_source, resolve
from posetask.media.sniff import HEAD, Content, identify


@pytest.fixture
def folder(tmp_path, tools):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), tools.draw(number)[..., ::-1])
    return tmp_path


def test_a_video_and_an_image(corpus, folder):
    (video,) = resolve(corpus("h264.mp4"))
    assert (video.kind, video.paths, video.name) == ("video", (corpus("h264.mp4"),), "h264")
    (image,) = resolve(str(folder / "frame1.png"))
    assert (image.kind, image.name) == ("image", "frame1")
    reader = open_source(video, threads=1, max_frames=3)
    assert isinstance(reader, VideoReader)
    assert len(list(reader)) == 3
    reader = open_source(image, frame_rate=10)
    assert isinstance(reader, ImageReader)
    assert reader.info.frame_rate == 10


def test_a_folder_of_images_is_one_sequence_in_natural_order(folder, tools):
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("three frames")
    (folder / "deeper").mkdir()
    for spec in (folder, folder / "*.png", str(folder / "**" / "frame*")):
        (source,) = resolve(spec)
        assert source.kind == "sequence"
        assert [path.name for path in source.paths] == ["frame1.png", "frame2.png", "frame10.png"]
        assert source.name == folder.name
        with open_source(source, frame_rate=2, start=0.5) as reader:
            assert [tools.read_number(frame.image) for frame in reader] == [2, 10]


def test_a_folder_of_videos_is_many_sources(corpus, tmp_path):
    for name in ("b.mp4", "a10.mp4", "a9.mkv"):
        (tmp_path / name).write_bytes(corpus("one_frame.mp4").read_bytes())
    sources = resolve(tmp_path)
    assert [source.name for source in sources] == ["a9", "a10", "b"]
    assert {source.kind for source in sources} == {"video"}
    assert [source.name for source in resolve(tmp_path / "a*")] == ["a9", "a10"]


def test_one_image_in_a_folder_is_an_image(tmp_path, tools):
    cv2.imwrite(str(tmp_path / "only.png"), tools.draw(1))
    (source,) = resolve(tmp_path)
    assert (source.kind, source.name) == ("image", "only")


def test_content_decides_and_not_the_name(corpus, tmp_path, tools):
    (tmp_path / "film.png").write_bytes(corpus("one_frame.mp4").read_bytes())
    assert resolve(tmp_path / "film.png")[0].kind == "video"
    cv2.imwrite(str(tmp_path / "a.png"), tools.draw(1))
    (tmp_path / "a.png").rename(tmp_path / "picture.mp4")
    assert resolve(tmp_path / "picture.mp4")[0].kind == "image"


def test_images_and_videos_together_are_refused(corpus, folder):
    (folder / "film.mp4").write_bytes(corpus("one_frame.mp4").read_bytes())
    for spec in (folder, folder / "*"):
        with pytest.raises(
            InputError, match=r"mixes images \(frame1.png, …\) and videos \(film.mp4"
        ) as error:
            resolve(spec)
        assert error.value.hint


def test_nothing_is_not_found(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    for spec in (
        tmp_path,
        tmp_path / "*.mp4",
        tmp_path / "missing.mp4",
        "",
        "nul\0byte",
        tmp_path / "x" / "y",
    ):
        with pytest.raises((SourceNotFound, InputError)) as error:
            resolve(spec)
        assert error.value.exit_code == 20
    with pytest.raises(SourceNotFound) as missing:
        resolve(tmp_path / "*.mp4")
    assert missing.value.http_status == 404


def test_broken_media_is_a_source_so_that_it_is_refused_and_not_passed_over(tmp_path, corpus):
    (tmp_path / "good.mp4").write_bytes(corpus("one_frame.mp4").read_bytes())
    (tmp_path / "empty.mp4").write_bytes(b"")
    sources = resolve(tmp_path)
    assert [source.name for source in sources] == ["empty", "good"]
    with pytest.raises(NotAVideo, match="empty"):
        open_source(sources[0])


def test_a_name_that_looks_like_a_pattern_is_a_name_if_it_exists(tmp_path, corpus):
    path = tmp_path / "film[1].mp4"
    path.write_bytes(corpus("one_frame.mp4").read_bytes())
    (source,) = resolve(path)
    assert source.paths == (path,)


@given(st.binary(max_size=400))
def test_any_bytes_have_a_name(head):
    content = identify(head)
    assert isinstance(content, Content)
    assert content.name
    assert (content.format != "") == (content.kind in ("video", "image"))


@given(st.text(max_size=300))
def test_any_text_is_no_video(text):
    head = text.encode("utf-8", "surrogatepass")[:HEAD]
    content = identify(head)
    if content.kind == "video":  # four letters at the right place are a box of MP4
        assert (
            head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid")
            or head[:4] == b"GIF8"
        )
    else:
        assert content.format == "" or content.kind == "image"
