"""Times that increase, and what containers say of their length."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.media.boxes import inspect
from posetask.media.clock import Clock
from posetask.media.damage import Ledger
from posetask.media.duration import Claim, claim
from posetask.messages import DecodeReport

BASE = Fraction(1, 1000)


def run(clock, times, duration=40):
    shown = []
    for pts in times:
        frame = av.VideoFrame(2, 2, "rgb24")
        frame.pts, frame.duration = pts, duration
        shown.append(clock.frame(frame))
    return shown


@given(st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**9)), max_size=40), st.integers(0, 50))
def test_times_always_increase(times, duration):
    shown = run(Clock(BASE), times, duration)
    assert all(a < b for a, b in itertools.pairwise(shown))
    assert len(shown) == len(times)


@given(st.lists(st.integers(0, 10**7), unique=True, max_size=40).map(sorted))
def test_times_that_increase_are_kept(times):
    assert run(Clock(BASE), times) == times


def test_duplicates_and_small_steps_back_follow_by_a_tick():
    assert run(Clock(BASE), [0, 40, 40, 30, 120]) == [0, 40, 41, 42, 120]


def test_missing_times_follow_by_a_frame():
    assert run(Clock(BASE), [None, 40, None, None, 200]) == [0, 40, 80, 120, 200]


def test_one_wild_time_is_a_stray_and_two_are_a_new_clock():
    clock = Clock(BASE)
    assert run(clock, [5000, 5040, 10, 5120, 5160]) == [5000, 5040, 5080, 5120, 5160]
    assert (clock.strays, clock.resets) == (1, 0)
    clock = Clock(BASE)
    assert run(clock, [5000, 5040, 0, 40, 80, 120]) == [5000, 5040, 5080, 5120, 5160, 5200]
    assert (clock.strays, clock.resets) == (0, 1)


def test_a_leap_behind_the_declared_end_is_a_stray_unless_the_next_frame_agrees():
    clock = Clock(BASE, end=3000)
    assert run(clock, [0, 40, 900_000, 120]) == [0, 40, 80, 120]
    assert (clock.strays, clock.resets) == (1, 0)
    clock = Clock(BASE, end=3000)
    assert run(clock, [0, 40, 60_000, 60_040]) == [0, 40, 80, 60_040]
    assert (clock.strays, clock.resets) == (0, 0)
    clock = Clock(BASE, end=3000)  # a little behind the end is nothing
    assert run(clock, [0, 2960, 5000, 9000]) == [0, 2960, 5000, 9000]
    assert clock.strays == 0


@given(st.permutations(range(12)))
def test_without_stored_times_the_nth_frame_gets_the_nth_smallest(order):
    """Whatever order the packets come in, as long as all have come before the first frame is shown."""
    clock = Clock(BASE, stored=False)
    for dts in order:
        clock.packet(dts)
    assert run(clock, [7] * 12) == list(range(12))


def test_a_lost_packet_leaves_its_gap_without_stored_times():
    clock = Clock(BASE, stored=False)
    for dts in range(4):
        clock.packet(dts)
    clock.lost(2)
    clock.lost(99)
    clock.lost(None)
    assert run(clock, [0, 0, 0]) == [0, 1, 3]


@pytest.mark.parametrize(
    ("name", "seconds", "from_zero", "whole_file"),
    [
        ("h264.mp4", 1.92, False, False),
        ("edit_list.mp4", 0.96, False, False),
        ("late.mp4", 1.92, False, False),
        ("h264.mkv", 1.92, True, False),
        ("longer_audio.mkv", 1.92, True, False),
        ("longer_audio.flv", 4.05, True, True),
        ("h264.ts", 1.92, False, False),
        ("live.webm", None, False, False),
        ("animated.gif", None, False, False),
        ("null_tail.avi", None, False, False),
    ],
)
def test_what_containers_claim(corpus, name, seconds, from_zero, whole_file):
    with av.open(str(corpus(name))) as container:
        found = claim(corpus(name), container, container.streams.video[0])
    assert found.seconds == (None if seconds is None else pytest.approx(seconds, abs=0.01))
    if seconds is not None:
        assert (found.from_zero, found.whole_file) == (from_zero, whole_file)


def test_an_avi_cut_short_does_claim_its_length(corpus):
    path = corpus.cut("mjpeg.avi", 0.5)
    with av.open(str(path)) as container:
        assert claim(path, container, container.streams.video[0]).seconds is not None


def test_a_matroska_without_track_tags_claims_for_the_whole_file(corpus, tmp_path):
    path = tmp_path / "untagged.mkv"
    path.write_bytes(corpus("longer_audio.mkv").read_bytes().replace(b"DURATION", b"DURATIOX"))
    with av.open(str(path)) as container:
        found = claim(path, container, container.streams.video[0])
    assert found == Claim(found.seconds, from_zero=True, whole_file=True)
    assert found.seconds == pytest.approx(4.0, abs=0.1)


@given(st.fractions(1, 100), st.fractions(0, 5))
def test_one_frame_may_be_missing(seconds, first):
    frame = Fraction(1, 25)
    whole = Claim(seconds)
    assert whole.missing(first, first + seconds, Fraction(0), frame) == 0
    assert whole.missing(first, first + seconds - frame, Fraction(0), frame) == 0
    assert whole.missing(first, first + seconds - 2 * frame, Fraction(0), frame) == 2 * frame
    assert Claim(None).missing(first, first, Fraction(0), frame) == 0


def test_a_packet_marked_refused_and_concealed_is_one_loss():
    ledger, report = Ledger(), DecodeReport()
    assert not ledger
    for note in (ledger.mark, ledger.refuse, ledger.conceal):
        note(7, 7)
    ledger.refuse(8, 8)
    ledger.tell(report, Fraction(0), None)
    assert ledger
    assert report.corrupt_packets == 2
    assert report.problems == ["1 packet cut short or marked corrupt", "1 packet refused by the decoder"]


def test_the_ledger_ignores_what_lies_before_the_part_that_was_asked_for():
    ledger = Ledger(since=100)
    for note in (ledger.mark, ledger.refuse, ledger.conceal):
        note(99, 99)
    assert not ledger
    ledger.conceal(100, 100)
    assert ledger.corrupt_packets == 1


@given(st.binary(max_size=300))
def test_boxes_of_garbage_are_walked_without_a_traceback(tmp_path_factory, garbage):
    path = tmp_path_factory.getbasetemp() / "boxes"
    path.write_bytes((300).to_bytes(4, "big") + b"moov" + garbage.ljust(292, b"\0"))
    found = inspect(path, 32)
    assert found.has_index
    assert found.tracks <= 33


def test_boxes_that_lie_about_their_size_or_nest_without_end(tmp_path):
    def box(kind, body=b"", size=None):
        header = size if size is not None else 8 + len(body)
        return (header.to_bytes(4, "big") if header < 1 << 32 else b"\0\0\0\1") + kind + body

    path = tmp_path / "boxes"
    nested = b""
    for _ in range(3000):
        nested = box(b"mdia", nested)
    path.write_bytes(box(b"moov", box(b"trak", nested)))
    assert inspect(path, 32).tracks == 1
    far = b"\0\0\0\1mdia" + b"\x7f" * 8
    path.write_bytes(box(b"moov", box(b"trak", far + box(b"minf")) + far))
    assert inspect(path, 32).tracks == 1
    path.write_bytes(box(b"free", b"x" * 30, size=0) + box(b"moov"))
    assert not inspect(path, 32).has_index
    path.write_bytes(box(b"moov", b"x" * 30, size=10**6))
    assert not inspect(path, 32).has_index


def test_boxes_of_a_real_file(corpus):
    found = inspect(corpus("with_audio.mp4"), 32)
    assert (found.has_index, found.tracks, found.external) == (True, 2, False)
    assert set(found.formats) == {"avc1", "mp4a"}
    assert not inspect(corpus("h264.mkv"), 32).has_index
