"""Damaged files: what can be had is had, and what is lost is told."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetask.errors import PoseTaskError, Truncated
from posetask.media.decode import VideoReader
from posetask.media.pump import Pump


def read(path, threads=1, **options):
    with VideoReader(path, threads=threads, **options) as reader:
        return list(reader), reader


CUT = ["h264.mp4", "h264.mkv", "h264.flv", "fragmented.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "mjpeg.avi"]


@pytest.mark.parametrize("name", CUT)
def test_a_file_cut_short_gives_its_frames_and_says_what_is_missing(corpus, tools, name):
    path = corpus.cut(name, 0.6)
    frames, reader = read(path)
    numbers = [tools.read_number(frame.image) for frame in frames]
    assert 0 < len(frames) < 48
    assert numbers[:-2] == list(range(len(numbers) - 2))  # the last may lack the pictures between
    assert numbers == sorted(set(numbers))
    report = reader.report
    assert report.damaged
    assert report.frames_decoded == len(frames)
    assert report.corrupt_packets > 0 or report.missing_seconds > 0
    # Fragments say only how long each is, and an AVI's duration is shortened to what is there.
    if name not in ("fragmented.mp4", "mjpeg.avi"):
        assert report.missing_seconds == pytest.approx(48 / 25 - len(frames) / 25, abs=0.1)
        assert any(" s are there" in problem for problem in report.problems)


@pytest.mark.parametrize("name", CUT)
def test_what_a_cut_file_gives_does_not_depend_on_the_threads(corpus, name):
    path = corpus.cut(name, 0.6)
    alone = [(frame.pts, frame.image.tobytes()) for frame in read(path, 1)[0]]
    for threads in (2, 7):
        frames, reader = read(path, threads)
        assert [(frame.pts, frame.image.tobytes()) for frame in frames] == alone
        assert reader.report == read(path, 1)[1].report


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "name", ["h264.mp4", "h264.mkv", "h264.ts", "vp9.webm", "av1.mp4", "mpeg2.ts", "mjpeg.avi"]
)
def test_flipped_bits_are_survived_and_counted(corpus, name, threads):
    frames, reader = read(corpus.flipped(name), threads)
    assert 0 < len(frames) <= 48
    assert reader.report.damaged
    if not name.endswith(".webm"):  # there it is the container's structure that breaks
        assert reader.report.corrupt_packets > 0
    assert reader.report.frames_decoded == len(frames)
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))


def test_concealed_frames_are_handed_on(corpus):
    frames, reader = read(corpus.flipped("h264.mp4", flips=6))
    assert len(frames) >= 46
    assert any("painted over" in problem or "refused" in problem for problem in reader.report.problems)


def test_an_unfinished_recording_is_truncated(corpus):
    with pytest.raises(Truncated, match="moov") as error:
        VideoReader(corpus.cut("moov_last.mp4", 0.9))
    assert error.value.code == "TRUNCATED"
    assert error.value.hint


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("h264.mkv", 60),
        ("h264.avi", 40),
        ("h264.mp4", 400),
        ("vp9.webm", 100),
        ("h264.flv", 11),
        ("h264.ts", 188),
    ],
)
def test_a_header_cut_short_is_truncated(corpus, tmp_path, name, keep):
    path = tmp_path / name
    path.write_bytes(corpus(name).read_bytes()[:keep])
    with pytest.raises(PoseTaskError) as error:
        VideoReader(path)
    assert error.value.code in ("TRUNCATED", "NOT_A_VIDEO", "NO_VIDEO_STREAM")
    assert error.value.exit_code == 20


def test_samples_that_are_all_missing_are_truncated(corpus, tmp_path):
    data = corpus("h264.mp4").read_bytes()
    path = tmp_path / "index_only.mp4"
    path.write_bytes(data[: data.find(b"mdat") + 4])
    with pytest.raises(Truncated, match="no frame can be decoded"):
        VideoReader(path, threads=4)


def test_samples_that_are_all_garbage_are_truncated(corpus, tools, tmp_path):
    data = bytearray(corpus("h264.mp4").read_bytes())
    first, last = tools.media_data(bytes(data))
    data[first:last] = bytes(i * 37 % 251 for i in range(last - first))
    path = tmp_path / "garbage.mp4"
    path.write_bytes(data)
    with pytest.raises(Truncated, match="damaged"):
        VideoReader(path, threads=4)


def test_damage_before_the_first_frame_starts_again_with_one_thread(corpus, tmp_path, tools, monkeypatch):
    data = corpus("h264.mp4").read_bytes()
    first, _ = tools.media_data(data)
    path = tmp_path / "bad_start.mp4"
    path.write_bytes(tools.flip_bits(data, first + 800, first + 1600, 40))
    opened = []
    make = Pump.__init__

    def noted(self, path, limits, threads, stopped=lambda: False):
        opened.append(threads)
        make(self, path, limits, threads, stopped)

    monkeypatch.setattr(Pump, "__init__", noted)
    frames, reader = read(path, threads=4)
    assert opened == [4, 1]
    assert reader.report.damaged
    assert [frame.pts for frame in frames] == [frame.pts for frame in read(path, threads=1)[0]]


def test_a_recording_that_begins_between_key_frames_is_short(corpus, tools):
    frames, reader = read(corpus("between_key_frames.ts"), threads=2)
    numbers = [tools.read_number(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], 48))
    assert numbers[0] in (15, 16)  # the first key frame in it is number 16
    assert reader.report.missing_seconds == pytest.approx((numbers[0] - 8) / 25, abs=0.1)


def test_appended_recordings_go_on_in_time(corpus, tools):
    frames, reader = read(corpus("appended.ts"), threads=2)
    assert [tools.read_number(frame.image) for frame in frames] == [*range(48)] * 2
    assert {b.pts - a.pts for a, b in itertools.pairwise(frames)} == {3600}
    assert "the source's clock jumps back; what follows is moved on to continue" in reader.report.problems


def test_a_time_that_cannot_be_right_does_not_stretch_the_video(corpus, tmp_path):
    data = bytearray(corpus("h264.flv").read_bytes())
    at = 13  # first tag; each: type, 3 bytes size, 3 bytes time, 1 byte more of it, 3 bytes stream
    tags = []
    while at + 11 < len(data):
        tags.append(at)
        at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
    data[tags[20] + 4 : tags[20] + 7] = (9_000_000).to_bytes(3, "big")
    path = tmp_path / "stray.flv"
    path.write_bytes(data)
    frames, reader = read(path, threads=2)
    assert len(frames) == 48
    assert frames[-1].pts <= 2100
    assert any("cannot be right" in problem for problem in reader.report.problems)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        ["h264.mp4", "h264.mkv", "h264.ts", "mpeg4.avi", "h264.flv", "mpeg2.mpg", "animated.gif"]
    ),
    seed=st.integers(0, 10**6),
    flips=st.integers(1, 60),
    keep=st.floats(0.05, 1.0),
)
def test_no_damage_whatever_ends_in_a_traceback(corpus, tools, tmp_path, name, seed, flips, keep):
    data = corpus(name).read_bytes()
    data = tools.flip_bits(data, 0, len(data), flips, seed)[: int(len(data) * keep)]
    path = tmp_path / "fuzzed"
    path.write_bytes(data)
    try:
        frames, reader = read(path, threads=2)
    except PoseTaskError as error:
        refused = (error.exit_code, bool(error.hint))
    else:
        refused = None
    assert refused in (None, (20, True))
    if refused is not None:
        return
    assert reader.report.frames_decoded == len(frames)
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert {frame.image.shape for frame in frames} <= {(reader.info.height, reader.info.width, 3)}
