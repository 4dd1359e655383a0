"""Intact files of every kind: all frames, in order, with the source's times, and not called damaged."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from posetask.media.decode import VideoReader
from posetask.media.probe import probe

FULL = 48
# name -> (frames, codec, pixel format)
INTACT = {
    "h264.mp4": (FULL, "h264", "yuv420p"),
    "moov_last.mp4": (FULL, "h264", "yuv420p"),
    "h264.mkv": (FULL, "h264", "yuv420p"),
    "h264.ts": (FULL, "h264", "yuv420p"),
    "h264.avi": (FULL, "h264", "yuv420p"),
    "h264.flv": (FULL, "h264", "yuv420p"),
    "fragmented.mp4": (FULL, "h264", "yuv420p"),
    "hevc.mp4": (FULL, "hevc", "yuv420p"),
    "vp9.webm": (FULL, "vp9", "yuv420p"),
    "vp8.webm": (24, "vp8", "yuv420p"),
    "av1.mp4": (FULL, "av1", "yuv420p"),
    "mpeg2.ts": (FULL, "mpeg2video", "yuv420p"),
    "mpeg2.mpg": (FULL, "mpeg2video", "yuv420p"),
    "mpeg4.avi": (FULL, "mpeg4", "yuv420p"),
    "mjpeg.avi": (FULL, "mjpeg", "yuvj420p"),
    "prores.mov": (6, "prores", "yuv422p10le"),
    "alpha.mov": (3, "prores", "yuva444p12le"),
    "animated.gif": (10, "gif", "bgra"),
    "ten_bit.mp4": (12, "h264", "yuv420p10le"),
    "yuv422.mp4": (12, "h264", "yuv422p"),
    "yuv444.mp4": (12, "h264", "yuv444p"),
    "gbrp.mkv": (12, "h264", "gbrp"),
    "odd.webm": (6, "vp9", "yuv420p"),
    "odd.mp4": (6, "h264", "yuv444p"),
    "one_frame.mp4": (1, "h264", "yuv420p"),
    "one_frame.ts": (1, "h264", "yuv420p"),
    "late.mp4": (FULL, "h264", "yuv420p"),
    "vfr.mp4": (19, "h264", "yuv420p"),
    "vfr.mkv": (19, "h264", "yuv420p"),
    "live.webm": (FULL, "vp9", "yuv420p"),
    "null_tail.avi": (10, "mjpeg", "yuvj420p"),
    "with_audio.mp4": (FULL, "h264", "yuv420p"),
    "longer_audio.mkv": (FULL, "h264", "yuv420p"),
    "longer_audio.flv": (FULL, "h264", "yuv420p"),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", INTACT)
def test_every_frame_comes_once_in_order_and_undamaged(corpus, tools, name, threads):
    frames, codec, pixels = INTACT[name]
    with VideoReader(corpus(name), threads=threads) as reader:
        decoded = list(reader)
    assert [tools.read_number(frame.image) for frame in decoded] == list(range(frames))
    assert all(a.pts < b.pts for a, b in itertools.pairwise(decoded))
    info, report = reader.info, reader.report
    assert (info.codec, info.pixel_format) == (codec, pixels)
    assert report.problems == []
    assert not report.damaged
    assert report.frames_decoded == frames
    assert (report.corrupt_packets, report.missing_seconds, report.stopped_early) == (0, 0.0, False)
    expected = (info.height, info.width, 3)
    for frame in decoded:
        assert frame.image.shape == expected
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert not frame.image.flags.writeable


@pytest.mark.parametrize(
    ("name", "first", "last", "base"),
    [
        ("h264.mp4", 0, 47 * 512, Fraction(1, 12800)),
        ("fragmented.mp4", 1024, 1024 + 47 * 512, Fraction(1, 12800)),
        ("late.mp4", 51200, 51200 + 47 * 512, Fraction(1, 12800)),
        ("h264.mkv", 0, 1880, Fraction(1, 1000)),
        ("h264.flv", 80, 1960, Fraction(1, 1000)),
        ("h264.ts", 7200, 7200 + 47 * 3600, Fraction(1, 90000)),
        ("h264.avi", 0, 47, Fraction(1, 25)),  # stores no presentation times, and has B-frames
        ("animated.gif", 0, 36, Fraction(1, 100)),
    ],
)
def test_times_are_the_sources_own(corpus, name, first, last, base):
    with VideoReader(corpus(name), threads=2) as reader:
        times = [frame.pts for frame in reader]
    assert reader.info.time_base == base
    assert (times[0], times[-1]) == (first, last)
    steps = {b - a for a, b in itertools.pairwise(times)}
    assert len(steps) == 1


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_frame_rate_is_kept(corpus, tools, name):
    with VideoReader(corpus(name), threads=2) as reader:
        times = [frame.pts * reader.info.time_base * 1000 for frame in reader]
    assert times == tools.VFR


def test_empty_chunks_of_an_avi_leave_their_gap(corpus, tools, tmp_path):
    shown = [0, 1, 2, 5, 6, 9]
    path = tools.encode(tmp_path / "gaps.avi", "mpeg4", frames=6, pts=shown)
    with VideoReader(path, threads=1) as reader:
        assert [frame.pts for frame in reader] == shown
    assert not reader.report.damaged


def test_edit_list_shows_what_it_selects_and_is_no_damage(corpus, tools):
    with VideoReader(corpus("edit_list.mp4"), threads=2) as reader:
        numbers = [tools.read_number(frame.image) for frame in reader]
    assert numbers == list(range(24, 48))
    assert reader.info.frames_declared == 48  # information only
    assert reader.report.frames_declared == 48
    assert not reader.report.damaged


def test_the_declared_count_is_null_where_there_is_none(corpus):
    assert probe(corpus("h264.mkv")).frames_declared is None
    assert probe(corpus("fragmented.mp4")).frames_declared is None
    assert probe(corpus("h264.mp4")).frames_declared == 48


def test_info_says_what_is_there(corpus):
    info = probe(corpus("with_audio.mp4"))
    assert info.container == "mov,mp4,m4a,3gp,3g2,mj2"
    assert info.audio_codec == "aac"
    assert info.frame_rate == pytest.approx(25)
    assert info.duration == pytest.approx(1.92)
    assert (info.width, info.height, info.rotation, info.hdr) == (160, 128, 0, None)
    assert probe(corpus("longer_audio.mkv")).duration == pytest.approx(1.92)
    assert probe(corpus("live.webm")).duration is None
    assert probe(corpus("h264.mkv")).container == "matroska,webm"
    variable = probe(corpus("vfr.mp4"))
    assert variable.duration is not None
    assert variable.frame_rate == pytest.approx(19 / variable.duration, rel=0.01)
    assert probe(corpus("one_frame.ts")).frame_rate == pytest.approx(25)


def test_anamorphic_pixels_are_kept_and_their_shape_is_told(corpus):
    info = probe(corpus("anamorphic.mp4"))
    assert (info.width, info.height) == (160, 128)
    assert info.sample_aspect_ratio == Fraction(16, 11)


def test_the_probe_and_the_reader_say_the_same(corpus):
    for name in INTACT:
        with VideoReader(corpus(name), threads=1) as reader:
            assert probe(corpus(name)) == reader.info


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mjpeg.avi"])
def test_a_wrong_extension_does_not_matter(corpus, tools, tmp_path, name):
    path = tmp_path / "film.jpg"
    path.write_bytes(corpus(name).read_bytes())
    with VideoReader(path, threads=1) as reader:
        assert [tools.read_number(frame.image) for frame in reader] == list(range(48))


def test_names_are_only_names(corpus, tools, tmp_path, monkeypatch):
    """A colon, a protocol, a pattern, bytes that are no UTF-8: the file with that very name is read."""
    data = corpus("one_frame.mp4").read_bytes()
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "concat:a|b.mp4", "frame%03d.mp4", "http:x.mp4", "ümläut \udcff.mp4", "-i.mp4"):
        Path(name).write_bytes(data)
        with VideoReader(Path(name), threads=1) as reader:
            assert len(list(reader)) == 1


def test_metadata_in_another_encoding_does_no_harm(tools, tmp_path):
    path = tools.encode(tmp_path / "latin.mkv", frames=2, metadata={"title": "XXcafeXX"})
    path.write_bytes(path.read_bytes().replace(b"XXcafeXX", b"XXcaf\xe9XX"))
    with VideoReader(path, threads=1) as reader:
        assert len(list(reader)) == 2


def test_a_picture_that_changes_size_is_scaled_to_the_first_and_told(corpus, tools):
    with VideoReader(corpus("resized.webm"), threads=2) as reader:
        frames = list(reader)
    assert {frame.image.shape for frame in frames} == {(128, 160, 3)}
    numbers = [tools.read_number(frame.image) for frame in frames]
    assert numbers == [*range(48), *range(100, 148)]
    assert reader.report.problems == [
        "pictures change from 160x128 to 320x256; they are scaled to the first size"
    ]
    assert reader.report.corrupt_packets == 0


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "frames", "size", "rate"),
    [
        ("one-by-one-person-detection.mp4", 1394, (768, 432), 10),
        ("store-aisle-detection_480x270.mp4", 67, (480, 270), 15),
        ("mmpose_demo.mp4", 5, (960, 540), 5),
    ],
)
def test_real_clips(shared_data, name, frames, size, rate):
    with VideoReader(shared_data / "videos" / name) as reader:
        times = [frame.pts for frame in reader]
    assert len(times) == frames == reader.info.frames_declared
    assert (reader.info.width, reader.info.height) == size
    assert reader.info.frame_rate == pytest.approx(rate)
    assert len({b - a for a, b in itertools.pairwise(times)}) == 1
    assert not reader.report.damaged
