"""Times are the source's, exactly: in the segments, in the playlist and in the MP4."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetask.media.manifest import PLAYLIST
from posetask.media.remux import remux

CASES = {
    "constant 25": (Fraction(1, 12800), [i * 512 for i in range(25)], 512),
    "ntsc, ticks of a frame": (Fraction(1001, 30000), list(range(40)), 1),
    "ntsc, usual ticks": (Fraction(1, 30000), [i * 1001 for i in range(40)], 1001),
    "matroska milliseconds": (Fraction(1, 1000), [round(i * 1001 / 30) for i in range(40)], 33),
    "variable": (Fraction(1, 90000), [0, 1500, 9000, 9001, 100_000, 103_000, 400_000, 403_003], 3003),
    "late start": (Fraction(1, 12800), [12_345 + i * 512 for i in range(25)], 512),
    "late start, coarse ticks": (Fraction(1001, 24000), [7 + i for i in range(25)], 1),
    "negative start": (Fraction(1, 15360), [-1024 + i * 512 for i in range(25)], 512),
    "one frame": (Fraction(1, 12800), [0], 1280),
    "one frame, no duration": (Fraction(1, 12800), [0], 0),
    "no durations": (Fraction(1, 12800), [0, 512, 1024, 2048], 0),
    "slow slides": (Fraction(1, 10), [0, 50, 120, 121], 70),
    "one tick a second": (Fraction(1), [0, 1, 2, 5], 1),
    "a hundred nanoseconds": (Fraction(1, 10_000_000), [0, 333_667, 667_333, 60_001_001], 333_667),
    "ticks of an odd length": (Fraction(333_667, 10_000_000), [0, 1, 2, 5], 1),
    "an hour in": (Fraction(1, 90000), [3600 * 90000 + i * 3003 for i in range(25)], 3003),
}


@pytest.mark.parametrize("case", CASES)
def test_the_mp4_has_the_sources_times(tmp_path: Path, kit: SimpleNamespace, case: str) -> None:
    time_base, pts, duration = CASES[case]
    manifest = kit.write_stream(tmp_path / "s", pts, kit.source_info(time_base, 25.0), duration=duration)
    report = remux(tmp_path / "s", tmp_path / "out.mp4")
    origin = min(pts[0], 0)
    wanted = [(tick - origin) * time_base for tick in pts]
    last = duration or (pts[-1] - pts[-2] if len(pts) > 1 else round(1 / (25 * time_base)))
    assert manifest.origin == origin
    for path in (tmp_path / "out.mp4", tmp_path / "s" / PLAYLIST):
        frames = kit.shown(path)
        assert [f.number for f in frames] == list(range(len(pts)))
        assert [f.time for f in frames] == wanted
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == len(pts)
        assert stream.duration * stream.time_base == wanted[-1] - wanted[0] + last * time_base
        packets = [p for p in container.demux(stream) if p.size]
        assert [p.duration * p.time_base for p in packets] == [
            *(b - a for a, b in pairwise(wanted)),
            last * time_base,
        ]
    assert report.frames == len(pts)
    assert report.duration == pytest.approx(float(wanted[-1] - wanted[0] + last * time_base), abs=1e-9)


def test_nanoseconds_are_rounded_to_microseconds_and_stay_apart(tmp_path: Path, kit: SimpleNamespace) -> None:
    pts = [0, 1, 2, 33_366_667, 5_000_000_400, 5_000_000_401]
    info = kit.source_info(Fraction(1, 1_000_000_000), 25.0)
    manifest = kit.write_stream(tmp_path / "s", pts, info, duration=40_000_400)
    assert manifest.time_base == Fraction(1, 1_000_000)
    remux(tmp_path / "s", tmp_path / "out.mp4")
    micros = [f.time * 1_000_000 for f in kit.shown(tmp_path / "out.mp4")]
    assert micros == [0, 1, 2, 33_367, 5_000_000, 5_000_001]
    assert manifest.end == Fraction(5_040_001, 1_000_000)


@pytest.mark.parametrize(("container", "rebase"), [("mpegts", False), ("mov,mp4,m4a,3gp,3g2,mj2", True)])
def test_the_first_frame_is_at_zero_where_the_clock_starts_anywhere_or_it_is_asked_for(
    tmp_path: Path, kit: SimpleNamespace, container: str, rebase: bool
) -> None:
    pts = [123_456_789 + i * 3600 for i in range(12)]
    info = kit.source_info(Fraction(1, 90000), 25.0, container=container)
    manifest = kit.write_stream(tmp_path / "s", pts, info, rebase=rebase)
    assert manifest.origin == pts[0]
    remux(tmp_path / "s", tmp_path / "out.mp4")
    assert [f.time for f in kit.shown(tmp_path / "out.mp4")] == [Fraction(i, 25) for i in range(12)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    time_base=st.sampled_from([Fraction(1, 1000), Fraction(1001, 30000), Fraction(1, 90000), Fraction(3, 7)]),
    start=st.integers(-5000, 5000),
    deltas=st.lists(st.integers(1, 5000), min_size=1, max_size=12),
)
def test_any_increasing_times_survive(
    tmp_path: Path, kit: SimpleNamespace, time_base: Fraction, start: int, deltas: list[int]
) -> None:
    shutil.rmtree(tmp_path / "s", ignore_errors=True)
    pts = list(accumulate([start, *deltas]))
    manifest = kit.write_stream(tmp_path / "s", pts, kit.source_info(time_base, 0.0), duration=deltas[-1])
    remux(tmp_path / "s", tmp_path / "out.mp4", overwrite=True)
    frames = kit.shown(tmp_path / "out.mp4")
    assert [f.time for f in frames] == [(tick - min(start, 0)) * time_base for tick in pts]
    assert [f.number for f in frames] == list(range(len(pts)))
    assert manifest.end == (pts[-1] + deltas[-1] - min(start, 0)) * time_base


@pytest.mark.parametrize("case", CASES)
def test_the_playlist_is_valid_and_its_durations_add_up(
    tmp_path: Path, kit: SimpleNamespace, case: str
) -> None:
    time_base, pts, duration = CASES[case]
    manifest = kit.write_stream(tmp_path, pts, kit.source_info(time_base, 25.0), duration=duration)
    lines = (tmp_path / PLAYLIST).read_text().splitlines()
    assert lines[:2] == ["#EXTM3U", "#EXT-X-VERSION:7"]
    assert '#EXT-X-MAP:URI="init.mp4"' in lines
    assert lines[-1] == "#EXT-X-ENDLIST"
    assert [line for line in lines if not line.startswith("#")] == [s.name for s in manifest.segments]
    extinf = [Fraction(m[1]) for line in lines if (m := re.fullmatch(r"#EXTINF:(\d+\.\d{6}),", line))]
    assert len(extinf) == len(manifest.segments)
    assert abs(sum(extinf) - (manifest.end - manifest.start)) <= Fraction(1, 1_000_000)
    for seconds, segment in zip(extinf, manifest.segments, strict=True):
        exact = (segment.end_pts - segment.first_pts) * time_base
        assert abs(seconds - exact) <= Fraction(1, 1_000_000)
    (target,) = (int(line.split(":")[1]) for line in lines if line.startswith("#EXT-X-TARGETDURATION"))
    assert all(int(seconds + Fraction(1, 2)) <= target for seconds in extinf)


def test_the_target_duration_stands_from_the_first_segment_on(tmp_path: Path, kit: SimpleNamespace) -> None:
    info = kit.source_info(Fraction(1), 0.2)
    manifest = kit.write_stream(tmp_path, [0, 5, 10, 15], info, duration=5)
    assert "#EXT-X-TARGETDURATION:5" in (tmp_path / PLAYLIST).read_text()
    assert [s.frames for s in manifest.segments] == [1, 1, 1, 1]


@pytest.mark.parametrize("case", ["constant 25", "ntsc, ticks of a frame", "variable", "late start"])
def test_ffprobe_agrees(tmp_path: Path, kit: SimpleNamespace, case: str) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("no ffprobe: apt-get install ffmpeg, or make setup-real")
    time_base, pts, duration = CASES[case]
    kit.write_stream(tmp_path / "s", pts, kit.source_info(time_base, 25.0), duration=duration)
    remux(tmp_path / "s", tmp_path / "out.mp4")
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_frames", "-of", "json"]
    done = subprocess.run([*command, str(tmp_path / "out.mp4")], capture_output=True, check=True, timeout=30)
    said = json.loads(done.stdout)
    (stream,) = said["streams"]
    assert (stream["codec_name"], stream["pix_fmt"], stream["has_b_frames"]) == ("h264", "yuv420p", 0)
    assert int(stream["nb_read_frames"]) == int(stream["nb_frames"]) == len(pts)
    ticks = Fraction(stream["time_base"])
    assert [frame["pts"] * ticks for frame in said["frames"]] == [tick * time_base for tick in pts]
    assert stream["duration_ts"] * ticks == (pts[-1] - pts[0] + duration) * time_base
