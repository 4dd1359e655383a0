from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetask.errors import InvalidParameters
from posetask.tracking import ByteTracker, ByteTrackParameters, TrackerOutput
from posetask.tracking.table import TrackTable

A, B = [10, 10, 60, 160], [300, 10, 350, 160]
PARAMETERS = ByteTrackParameters()


def see(tracker: ByteTracker, *boxes: list[float], score: float | list[float] = 0.9) -> TrackerOutput:
    scores = (
        np.full(len(boxes), score, np.float32) if isinstance(score, float) else np.array(score, np.float32)
    )
    return tracker.update(np.array(boxes, np.float32).reshape(-1, 4), scores)


def ids(out: TrackerOutput) -> list[int]:
    return out.ids.tolist()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    frame_rate=st.sampled_from([1.0, 10.0, 25.0, 29.97]),
    track_thresh=st.sampled_from([0.05, 0.4, 0.6, 0.8]),
    match_thresh=st.sampled_from([0.3, 0.7, 0.9, 0.99]),
    track_buffer=st.sampled_from([0, 1, 10, 30]),
    mot20=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_every_decision_is_that_of_the_per_object_port(
    crowd: Callable, reference_port: ModuleType, seed: int, frame_rate: float, dtype: type, **chosen: float
) -> None:
    ours = ByteTracker(ByteTrackParameters(**chosen), frame_rate)
    theirs = reference_port.ReferencePort(frame_rate, **chosen)
    for xyxy, scores in crowd(seed, frames=50, objects=14):
        out = ours.update(xyxy.astype(dtype), scores.astype(dtype))
        expected = theirs.update(xyxy.astype(dtype), scores.astype(dtype))
        assert ids(out) == [t.id for t in expected]
        assert out.det_index.tolist() == [t.det_index for t in expected]
        assert out.scores.tolist() == [t.score for t in expected]
        np.testing.assert_allclose(
            out.tlwh, np.array([t.tlwh for t in expected]).reshape(-1, 4), rtol=1e-9, atol=1e-6
        )
    assert ours.ids_issued == theirs.issued
    assert ours.size == len(theirs.tracked) + len(theirs.lost)


def test_ids_start_at_one_in_every_tracker() -> None:
    for _ in range(2):
        tracker = ByteTracker(PARAMETERS)
        assert ids(see(tracker, A, B)) == [1, 2]


def test_the_output_has_the_promised_types_and_answers_to_the_input() -> None:
    tracker = ByteTracker(PARAMETERS)
    out = see(tracker, [0, 0, 1, 1], A, B, score=[0.2, 0.8, 0.9])
    assert (out.ids.dtype, out.tlwh.dtype, out.scores.dtype, out.det_index.dtype) == (
        np.int32,
        np.float64,
        np.float32,
        np.int32,
    )
    assert out.det_index.tolist() == [1, 2]
    assert out.scores.tolist() == np.array([0.8, 0.9], np.float32).tolist()
    assert out.tlwh.tolist() == [[10, 10, 50, 150], [300, 10, 50, 150]]
    nobody = see(ByteTracker(PARAMETERS))
    assert [len(part) for part in nobody] == [0, 0, 0, 0]
    assert nobody.tlwh.shape == (0, 4)


def test_only_the_very_first_frame_confirms_at_once() -> None:
    tracker = ByteTracker(PARAMETERS)
    see(tracker)
    assert ids(see(tracker, A)) == []
    assert ids(see(tracker, A)) == [1]


def test_a_track_seen_only_once_is_forgotten_and_its_id_is_spent() -> None:
    tracker = ByteTracker(PARAMETERS)
    see(tracker, A)
    assert ids(see(tracker, A, B)) == [1]
    assert ids(see(tracker, A)) == [1]
    assert tracker.size == 1
    see(tracker, A, B)
    assert ids(see(tracker, A, B)) == [1, 3]


@pytest.mark.parametrize(
    ("score", "starts"), [(0.69, False), (float(np.float32(0.7)), True), (0.6, False), (0.05, False)]
)
def test_a_new_track_needs_a_tenth_more_than_the_threshold(score: float, starts: bool) -> None:
    assert (ids(see(ByteTracker(PARAMETERS), A, score=score)) == [1]) is starts


@pytest.mark.parametrize(
    ("score", "dtype", "kept"),
    [
        (0.61, np.float32, True),
        (0.3, np.float32, True),
        (0.6, np.float32, False),  # neither above the threshold nor below it
        (float(np.float32(0.6)), np.float64, True),  # 0.60000002: above, in float64
        (float(np.float32(0.1)), np.float32, False),
        (float(np.float32(0.1)), np.float64, True),
        (0.05, np.float32, False),
    ],
)
def test_which_scores_keep_a_track_alive(score: float, dtype: type, kept: bool) -> None:
    tracker = ByteTracker(PARAMETERS)
    see(tracker, A)
    out = tracker.update(np.array([A], dtype), np.array([score], dtype))
    assert (ids(out) == [1]) is kept


def test_a_weak_detection_finds_no_lost_track_again() -> None:
    tracker = ByteTracker(PARAMETERS)
    see(tracker, A)
    see(tracker)
    assert ids(see(tracker, A, score=0.4)) == []
    assert ids(see(tracker, A, score=0.8)) == [1]


@pytest.mark.parametrize(
    ("missed", "found"),
    [(1, True), (10, True), (11, True), (12, False)],
)
def test_a_lost_track_is_found_again_for_max_time_lost_and_one_frame(missed: int, found: bool) -> None:
    # lost for more than 10 frames it expires, and as published it can still be found in the frame after
    tracker = ByteTracker(PARAMETERS, frame_rate=10.0)
    assert tracker.max_time_lost == 10
    see(tracker, A)
    for _ in range(missed):
        see(tracker)
    assert (ids(see(tracker, A)) == [1]) is found
    assert tracker.size == 1


def test_a_track_that_expired_once_is_dropped_when_it_is_missed_again() -> None:
    tracker = ByteTracker(PARAMETERS, frame_rate=10.0)
    see(tracker, A)
    for _ in range(11):
        see(tracker)
    assert ids(see(tracker, A)) == [1]
    see(tracker)
    assert tracker.size == 0
    see(tracker, A)
    assert ids(see(tracker, A)) == [2]


def test_a_lost_track_goes_where_it_was_going() -> None:
    tracker = ByteTracker(PARAMETERS)
    for i in range(10):
        see(tracker, [10 + 12 * i, 10, 60 + 12 * i, 160])
    for _ in range(8):
        see(tracker)
    assert ids(see(tracker, [10 + 12 * 18, 10, 60 + 12 * 18, 160])) == [1]


def test_output_order_is_tracked_then_new_then_found_again() -> None:
    tracker = ByteTracker(PARAMETERS)
    c = [600, 10, 650, 160]
    see(tracker, A, B)  # 1, 2
    see(tracker, B, c)  # 1 lost, 3 new
    assert ids(see(tracker, A, B, c)) == [2, 3, 1]
    assert see(tracker, A, B, c).det_index.tolist() == [1, 2, 0]


@pytest.mark.parametrize(("older", "survivor"), [("tracked", 2), ("lost", 1), ("tie", 1)])
def test_of_a_tracked_and_a_lost_track_on_one_place_the_shorter_lived_goes(older: str, survivor: int) -> None:
    state = np.zeros((5, 4, 2))
    state[0] = np.array([[50, 50, 0.5, 100]]).T
    first = {"tracked": [1, 5], "lost": [5, 1], "tie": [3, 1]}[older]
    table = TrackTable(
        1,
        state,
        np.array([2, 1]),
        np.array(first),
        np.array([10, 8]),
        np.ones(2, np.bool_),
        np.zeros(2, np.bool_),
    )
    assert table.ids[~table.duplicates()].tolist() == [survivor]


def test_mot20_does_not_weigh_with_the_score() -> None:
    box, moved = [0, 0, 99, 99], [0, 0, 99, 57]  # IoU 0.58, times 0.61 gives 0.35
    for mot20, expected in ((False, []), (True, [1])):
        tracker = ByteTracker(ByteTrackParameters(match_thresh=0.6, mot20=mot20))
        see(tracker, box)
        assert ids(see(tracker, moved, score=0.61)) == expected


def test_boxes_without_a_height_are_left_out_and_do_no_harm() -> None:
    tracker = ByteTracker(PARAMETERS)
    out = see(tracker, [5, 5, 9, 5], A, [9, 9, 5, 30])
    assert (ids(out), out.det_index.tolist()) == ([1], [1])
    assert ids(see(tracker, [10, 10, 60, 10], A)) == [1]


def test_a_shrinking_box_whose_prediction_turns_inside_out_gives_no_nan() -> None:
    tracker = ByteTracker(PARAMETERS)
    height = 400.0
    for _ in range(12):
        see(tracker, [10, 10, 60, 10 + height])
        height *= 0.4
    outs = [see(tracker, A) for _ in range(40)]
    assert all(np.isfinite(out.tlwh).all() for out in outs)


def test_a_refused_frame_leaves_the_tracker_as_it_was() -> None:
    tracker = ByteTracker(PARAMETERS)
    see(tracker, A)
    with pytest.raises(InvalidParameters, match="detection 0"):
        see(tracker, [0, 0, float("nan"), 1])
    assert (tracker.frames, tracker.size) == (1, 1)
    assert ids(see(tracker, A)) == [1]


@pytest.mark.parametrize("frame_rate", [-1.0, float("nan"), float("inf")])
def test_a_frame_rate_that_is_none_is_refused(frame_rate: float) -> None:
    with pytest.raises(InvalidParameters, match="frame rate"):
        ByteTracker(PARAMETERS, frame_rate)


@pytest.mark.parametrize(
    ("own", "given", "expected"), [(None, 0.0, 30), (None, 15.0, 15), (60.0, 15.0, 60), (29.97, 0.0, 29)]
)
def test_the_frame_rate_turns_the_buffer_into_frames(own: float | None, given: float, expected: int) -> None:
    assert ByteTracker(ByteTrackParameters(frame_rate=own), given).max_time_lost == expected


def test_the_same_stream_gives_the_same_tracks(crowd: Callable) -> None:
    def everything() -> Iterator[bytes]:
        tracker = ByteTracker(PARAMETERS)
        for xyxy, scores in crowd(7):
            yield from (part.tobytes() for part in tracker.update(xyxy, scores))

    assert list(everything()) == list(everything())


def test_the_state_stays_bounded_over_20000_frames_of_coming_and_going() -> None:
    tracker = ByteTracker(PARAMETERS, frame_rate=10.0)
    rng = np.random.default_rng(5)
    most = 0
    for frame in range(20_000):
        if frame % 4 == 0:  # two new people every four frames, elsewhere each time
            corner = rng.uniform(0, 4000, (2, 2))
            boxes = np.concatenate([corner, corner + np.array([40, 120])], axis=1).astype(np.float32)
        tracker.update(boxes, np.full(2, 0.9, np.float32))
        most = max(most, tracker.size)
    assert tracker.ids_issued > 9000
    # two tracked, and what the buffer of 10 frames and one can hold of those that left
    assert most <= 2 + 2 * 4
    held = tracker._table
    assert held.state.shape == (5, 4, tracker.size)
    assert held.state.base is None or held.state.base.size == held.state.size
