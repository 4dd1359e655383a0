from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from posetask.messages import FrameHeader, Tracks
from posetask.tracking import interpolate

K = 3
BASE = Fraction(1, 12800)


def header(index: int, pts: int, base: Fraction = BASE) -> FrameHeader:
    return FrameHeader(index=index, pts=pts, time_base=base, width=640, height=480, analysed=index % 2 == 0)


def tracks(ids: list[int], at: FrameHeader, seed: int = 0) -> Tracks:
    rng = np.random.default_rng([seed, *ids])
    n = len(ids)
    keypoints = rng.uniform(0, 640, (n, K, 2)).astype(np.float32)
    scores = rng.uniform(0.1, 1.2, (n, K)).astype(np.float32)
    missing = rng.random(n) < 0.3
    keypoints[missing], scores[missing] = np.nan, 0
    return Tracks(
        at,
        np.array(ids, np.int32),
        rng.uniform(-50, 640, (n, 4)).astype(np.float32),
        rng.random(n).astype(np.float32),
        np.arange(n, dtype=np.int32),
        keypoints,
        scores,
    )


people = st.lists(st.integers(1, 12), unique=True, max_size=8)


@given(before=people, after=people, seed=st.integers(0, 1000), end=st.booleans(), span=st.integers(1, 10**6))
def test_at_the_ends_it_is_the_end_itself(
    before: list[int], after: list[int], seed: int, end: bool, span: int
) -> None:
    a, b = tracks(before, header(0, 77), seed), tracks(after, header(2, 77 + span), seed + 1)
    out = interpolate(a, b, header(1, 77 + span if end else 77))
    source = b if end else a
    rows = [source.ids.tolist().index(track) for track in out.ids]
    np.testing.assert_array_equal(out.xyxy, source.xyxy[rows])
    np.testing.assert_array_equal(out.scores, source.scores[rows])
    known = ~np.isnan(out.keypoints)
    np.testing.assert_array_equal(out.keypoints[known], source.keypoints[rows][known])


@given(before=people, after=people, pts=st.integers(0, 100))
def test_those_in_both_stand_in_the_order_of_before_and_are_marked(
    before: list[int], after: list[int], pts: int
) -> None:
    out = interpolate(tracks(before, header(0, 0)), tracks(after, header(2, 100)), header(1, pts))
    assert out.ids.tolist() == [track for track in before if track in after]
    assert (out.det_index == -1).all()
    assert out.interpolated
    assert out.header == header(1, pts)


@given(ids=people, pts=st.integers(0, 100), seed=st.integers(0, 1000))
def test_a_keypoint_that_one_end_lacks_is_nan_with_score_0_and_others_lie_between(
    ids: list[int], pts: int, seed: int
) -> None:
    a, b = tracks(ids, header(0, 0), seed), tracks(ids, header(2, 100), seed + 1)
    out = interpolate(a, b, header(1, pts))
    lacking = np.isnan(a.keypoints).any(axis=2) | np.isnan(b.keypoints).any(axis=2)
    np.testing.assert_array_equal(np.isnan(out.keypoints).all(axis=2), lacking)
    assert (out.keypoint_scores[lacking] == 0).all()
    share = pts / 100
    np.testing.assert_allclose(out.xyxy, a.xyxy + share * (b.xyxy - a.xyxy), rtol=1e-4, atol=1e-3)
    expected = a.keypoints + share * (b.keypoints - a.keypoints)
    np.testing.assert_allclose(out.keypoints[~lacking], expected[~lacking], rtol=1e-4, atol=1e-3)


def test_it_is_linear_in_time_not_in_frames() -> None:
    a, b = tracks([1], header(0, 0)), tracks([1], header(2, 100), seed=1)
    out = interpolate(a, b, header(1, 25))
    np.testing.assert_allclose(out.xyxy, 0.75 * a.xyxy + 0.25 * b.xyxy, rtol=1e-6)
    finer = interpolate(a, b, header(1, 250, base=BASE / 10))
    np.testing.assert_array_equal(finer.xyxy, out.xyxy)


def test_a_time_outside_is_the_nearer_end_and_equal_times_are_the_first() -> None:
    a, b = tracks([1], header(0, 100)), tracks([1], header(2, 200), seed=1)
    np.testing.assert_array_equal(interpolate(a, b, header(1, 50)).xyxy, a.xyxy)
    np.testing.assert_array_equal(interpolate(a, b, header(1, 900)).xyxy, b.xyxy)
    same = tracks([1], header(2, 100), seed=1)
    np.testing.assert_array_equal(interpolate(a, same, header(1, 100)).xyxy, a.xyxy)


def test_nobody_in_both_is_an_empty_frame_of_the_same_skeleton() -> None:
    out = interpolate(tracks([1, 2], header(0, 0)), tracks([3], header(2, 9)), header(1, 4))
    assert len(out) == 0
    assert out.keypoints.shape == (0, K, 2)
    assert out.interpolated
