"""Parts of a video: start, duration, max_frames, stop, close."""

from __future__ import annotations

import threading

import pytest

from posetask.errors import InvalidParameters, TooLong
from posetask.media.decode import VideoReader
from posetask.media.limits import MediaLimits

SEEKABLE = [
    "h264.mp4",
    "fragmented.mp4",
    "late.mp4",
    "h264.mkv",
    "h264.ts",
    "h264.avi",
    "h264.flv",
    "hevc.mp4",
    "vp9.webm",
    "live.webm",
    "av1.mp4",
    "mpeg2.ts",
    "mpeg2.mpg",
    "mpeg4.avi",
    "mjpeg.avi",
]


def numbers(tools, reader):
    return [tools.read_number(frame.image) for frame in reader]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", SEEKABLE)
def test_a_part_is_exactly_that_part_of_the_whole(corpus, name, threads):
    with VideoReader(corpus(name), threads=threads) as reader:
        whole = [(frame.pts, frame.image.tobytes()) for frame in reader]
    with VideoReader(corpus(name), threads=threads, start=0.8, duration=0.4) as reader:
        part = [(frame.pts, frame.image.tobytes()) for frame in reader]
    assert part == whole[20:30]
    assert reader.report.stopped_early
    assert not reader.report.damaged
    with VideoReader(corpus(name), threads=threads, start=1.25) as reader:
        rest = [frame.pts for frame in reader]
    assert rest == [pts for pts, _ in whole[32:]]
    assert not reader.report.stopped_early
    assert not reader.report.damaged


def test_damage_before_the_start_is_not_the_parts_damage(corpus, tools, tmp_path):
    data = corpus("h264.mp4").read_bytes()
    first, _ = tools.media_data(data)
    path = tmp_path / "bad_start.mp4"
    path.write_bytes(tools.flip_bits(data, first + 800, first + 1600, 40))
    with VideoReader(path, threads=3, start=1.0) as reader:
        assert numbers(tools, reader) == list(range(25, 48))
    assert not reader.report.damaged
    with VideoReader(path, threads=3) as reader:
        list(reader)
    assert reader.report.damaged


def test_start_between_two_frames_takes_the_later(corpus, tools):
    with VideoReader(corpus("h264.mp4"), start=0.041) as reader:
        assert numbers(tools, reader)[0] == 2
    with VideoReader(corpus("h264.avi"), start=0.041) as reader:  # whose ticks are frames
        assert numbers(tools, reader)[0] == 2


def test_max_frames_ends_early_only_if_there_are_more(corpus):
    with VideoReader(corpus("h264.mp4"), max_frames=5) as reader:
        assert len(list(reader)) == 5
    assert reader.report.stopped_early
    assert reader.report.problems == []
    with VideoReader(corpus("h264.mp4"), max_frames=48) as reader:
        assert len(list(reader)) == 48
    assert not reader.report.stopped_early


def test_a_start_behind_the_end_is_refused(corpus):
    with pytest.raises(InvalidParameters, match="lasts"):
        VideoReader(corpus("h264.mp4"), start=5)
    with pytest.raises(InvalidParameters, match="no frame there"):
        VideoReader(corpus("live.webm"), start=5)


@pytest.mark.parametrize(
    "options",
    [
        {"start": -1.0},
        {"start": float("nan")},
        {"start": float("inf")},
        {"duration": 0.0},
        {"duration": -2.0},
        {"duration": float("nan")},
        {"max_frames": 0},
        {"threads": 0},
    ],
)
def test_senseless_parameters_are_refused(corpus, options):
    with pytest.raises(InvalidParameters):
        VideoReader(corpus("h264.mp4"), **options)


def test_stop_from_another_thread_ends_cleanly(corpus):
    with VideoReader(corpus("h264.mp4"), threads=2) as reader:
        for taken, _ in enumerate(reader, start=1):
            if taken == 10:
                other = threading.Thread(target=reader.stop)
                other.start()
                other.join()
    assert 10 <= taken < 48
    assert reader.report.stopped_early
    assert reader.report.problems == []
    assert reader.report.frames_decoded == taken


def test_closing_in_the_middle_is_an_early_stop_and_not_damage(corpus):
    reader = VideoReader(corpus("h264.mp4"), threads=2)
    next(reader)
    reader.close()
    reader.close()
    assert reader.report.stopped_early
    assert not reader.report.damaged
    assert list(reader) == []
    unread = VideoReader(corpus("h264.mp4"))
    unread.close()
    assert unread.report.stopped_early


def test_frames_outlive_the_reader(corpus, tools):
    with VideoReader(corpus("h264.mp4"), threads=2) as reader:
        frames = list(reader)
    del reader
    assert numbers(tools, frames) == list(range(48))


def test_pictures_that_go_on_beyond_the_longest_duration_are_refused(corpus):
    reader = VideoReader(corpus("live.webm"), limits=MediaLimits(max_seconds=1.0))
    with pytest.raises(TooLong):
        list(reader)
    assert reader.report.frames_decoded == 26
    with pytest.raises(TooLong, match="lasts 2 s, at most 1 s"):
        VideoReader(corpus("h264.mp4"), limits=MediaLimits(max_seconds=1.0))
