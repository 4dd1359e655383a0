"""Scores whose values can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from posetask.errors import InputError, InvalidParameters, NotAvailable
from posetask.evaluation import People, Predictions, ScoreOptions, Scores, Truth, join_clips

Compare = Callable[..., Scores]


def test_a_perfect_prediction_scores_one_everywhere(compare: Compare, walk: People) -> None:
    scores = compare(walk, walk)
    assert scores.detection is not None
    assert scores.pose is not None
    assert scores.tracking is not None
    found, pose, tracks = scores.detection, scores.pose, scores.tracking
    assert [found.ap, found.ap50, found.ap75, found.ar, found.precision, found.recall] == [1.0] * 6
    assert [pose.oks_ap, pose.oks_ap50, pose.oks_ap75, pose.oks_ar] == [1.0] * 4
    perfect = [tracks.mota, tracks.motp, tracks.idf1, tracks.idp, tracks.idr]
    perfect += [tracks.hota, tracks.deta, tracks.assa, tracks.loca]
    assert perfect == pytest.approx([1.0] * 9)
    assert (tracks.switches, tracks.missed, tracks.false_alarms, tracks.mostly_tracked) == (0, 0, 0, 3)
    assert (scores.frames, scores.people, scores.ignored, scores.missing) == (10, 30, 0, ())


def test_two_people_who_swap_ids_are_two_switches(compare: Compare, walk: People) -> None:
    ids = walk.ids.copy()
    late = walk.frames >= 5
    ids[late & (walk.ids == 1)], ids[late & (walk.ids == 2)] = 2, 1
    scores = compare(walk, replace(walk, ids=ids))
    assert scores.tracking is not None
    assert scores.detection is not None
    tracks = scores.tracking
    assert tracks.switches == 2
    assert tracks.mota == pytest.approx(1 - 2 / 30)
    assert tracks.idf1 == pytest.approx(20 / 30)  # the third person, and half of each of the others
    assert tracks.deta == pytest.approx(1.0)
    assert tracks.assa == pytest.approx((10 * 1 + 20 * (5 / 15)) / 30)
    assert tracks.hota == pytest.approx(np.sqrt(tracks.assa))
    assert [(s.frame, s.truth_id, s.before, s.after) for s in tracks.switched] == [(5, 1, 1, 2), (5, 2, 2, 1)]
    mine = [(s.first, s.last, s.predicted_id) for s in tracks.spans if s.truth_id == 1]
    assert mine == [(0, 4, 1), (5, 9, 2)]
    assert scores.detection.ap == 1.0


def test_a_person_who_is_never_found_is_missed(compare: Compare, walk: People) -> None:
    scores = compare(walk, walk.take(walk.ids != 3))
    assert scores.detection is not None
    assert scores.tracking is not None
    assert scores.detection.recall == pytest.approx(2 / 3)
    assert scores.detection.precision == 1.0
    assert scores.detection.ap50 == pytest.approx(67 / 101)  # COCO's 101 recalls: 0 to 0.66 are reached
    assert scores.tracking.mota == pytest.approx(2 / 3)
    assert scores.tracking.idf1 == pytest.approx(2 * 20 / (30 + 20))
    assert scores.tracking.mostly_lost == 1
    assert [(s.first, s.last, s.predicted_id) for s in scores.tracking.spans if s.truth_id == 3] == [
        (0, 9, None)
    ]


def test_a_false_alarm_costs_precision_and_not_recall(compare: Compare, walk: People) -> None:
    ghost = People.of([4], [[500, 300, 40, 90]], ids=[9], scores=[0.4])
    scores = compare(walk, People.concatenate([walk, ghost]))
    assert scores.detection is not None
    assert scores.tracking is not None
    assert scores.detection.precision == pytest.approx(30 / 31)
    assert (scores.detection.recall, scores.detection.ap) == (1.0, 1.0)  # it ranks below everybody
    assert scores.tracking.mota == pytest.approx(1 - 1 / 30)
    assert scores.tracking.alarms == ((4, 1),)
    above = compare(walk, People.concatenate([walk, ghost]), ScoreOptions(score_threshold=0.5)).detection
    assert above is not None
    assert (above.precision, above.false_alarms, above.found) == (1.0, 0, 30)


def test_shifted_keypoints_lower_oks_and_nothing_else(
    compare: Compare, walk: People, moved: Callable[[People, float], People]
) -> None:
    aps = []
    for by in (0.0, 2.0, 6.0, 40.0):
        scores = compare(walk, moved(walk, by))
        assert scores.pose is not None
        assert scores.detection is not None
        assert scores.detection.ap == 1.0
        aps.append(scores.pose.oks_ap)
    assert aps[0] == 1.0
    assert aps == sorted(aps, reverse=True)
    assert len(set(aps)) == 4
    assert aps[-1] == 0.0


def test_oks_is_taken_with_cocos_sigmas(
    compare: Compare, walk: People, moved: Callable[[People, float], People]
) -> None:
    sigmas = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
    oks = np.exp(-(6.0**2) / (2 * (40 * 90) * (2 * sigmas) ** 2)).mean()
    scores = compare(walk, moved(walk, 6.0))
    assert scores.pose is not None
    reached = [curve.threshold for curve in scores.pose.curves if curve.ap == 1.0]
    assert 0.5 < oks < 0.95
    assert reached == [t for t in np.arange(0.5, 1.0, 0.05).round(2) if t <= oks]


def test_nobody_predicted_is_zero_not_missing(compare: Compare, walk: People) -> None:
    scores = compare(walk, walk.take(np.zeros(len(walk), bool)))
    assert scores.detection is not None
    assert scores.pose is not None
    assert scores.tracking is not None
    assert (scores.detection.ap, scores.detection.recall, scores.detection.precision) == (0.0, 0.0, None)
    assert scores.pose.oks_ap == 0.0
    tracks = scores.tracking
    assert (tracks.mota, tracks.idf1, tracks.hota, tracks.motp, tracks.idp) == (0.0, 0.0, 0.0, None, None)


def test_an_ignored_person_is_neither_hit_nor_miss(compare: Compare, walk: People) -> None:
    truth = replace(walk, ignored=walk.ids == 3)
    for predictions in (walk, walk.take(walk.ids != 3)):
        scores = compare(truth, predictions)
        assert scores.detection is not None
        assert scores.pose is not None
        assert scores.tracking is not None
        assert (scores.detection.ap, scores.detection.precision, scores.pose.oks_ap) == (1.0, 1.0, 1.0)
        assert (scores.tracking.mota, scores.tracking.idf1, scores.tracking.hota) == pytest.approx((1, 1, 1))
        assert (scores.people, scores.ignored, scores.tracking.truth_ids) == (20, 10, 2)


def test_a_crowd_region_absorbs_all_that_lies_in_it(compare: Compare, walk: People) -> None:
    crowd = People.of(range(10), np.tile([400.0, 0, 200, 200], (10, 1)), crowds=np.ones(10))
    strangers = People.of(
        [3, 3, 7], [[410, 20, 40, 90], [470, 20, 40, 90], [590, 20, 40, 90]], ids=[50, 51, 52]
    )
    scores = compare(People.concatenate([walk, crowd]), People.concatenate([walk, strangers]))
    assert scores.detection is not None
    assert scores.tracking is not None
    assert scores.detection.false_alarms == 1  # three quarters of the third lie outside
    assert scores.tracking.alarms == ((7, 1),)


def test_a_prediction_goes_to_the_person_it_fits_best_even_an_ignored_one(compare: Compare) -> None:
    truth = People.of([0, 0], [[0, 0, 40, 90], [10, 0, 40, 90]], ids=[1, 2], ignored=[0, 1])
    scores = compare(truth, People.of([0], [[9, 0, 40, 90]], ids=[5]))
    assert scores.tracking is not None
    assert (scores.tracking.missed, scores.tracking.false_alarms) == (1, 0)


@pytest.mark.parametrize(
    ("height", "visible", "counts"),
    [(90, 1.0, True), (89.9, 1.0, False), (90, 0.7, True), (90, 0.69, False), (90, np.nan, True)],
)
def test_the_easy_set_is_by_height_and_visibility(
    compare: Compare, walk: People, height: float, visible: float, counts: bool
) -> None:
    rows = walk.ids == 2
    xywh, seen = walk.xywh.copy(), walk.visible.copy()
    xywh[rows, 3], seen[rows] = height, visible  # a sixth of 540 is 90
    scores = compare(replace(walk, xywh=xywh, visible=seen), walk, ScoreOptions.easy())
    assert scores.people == (30 if counts else 20)


def test_where_visibility_is_unknown_the_keypoint_flags_tell_it(compare: Compare, walk: People) -> None:
    flags = walk.keypoints.copy()
    flags[walk.ids == 1, 5:, 2] = 1
    truth = replace(walk, keypoints=flags, visible=np.full(len(walk), np.nan))
    assert compare(truth, walk, ScoreOptions.easy()).ignored == 10


def test_height_needs_the_height_of_the_frames(
    score: Compare,
    walk: People,
    as_truth: Callable[[People], Truth],
    as_predictions: Callable[..., Predictions],
) -> None:
    truth = replace(as_truth(walk), frames=None, heights=None)
    with pytest.raises(InvalidParameters, match="--frame-height"):
        score(truth, as_predictions(walk), ScoreOptions.easy())
    options = ScoreOptions(min_height=1 / 6, frame_height=541)
    scores = score(truth, as_predictions(walk), options)
    assert scores.ignored == 30
    assert [gap.reason for gap in scores.missing] == ["nobody in the truth counts (30 are ignored)"] * 3


def test_predictions_in_frames_without_truth_are_left_out_and_counted(compare: Compare, walk: People) -> None:
    later = replace(walk.take(walk.frames == 0), frames=np.full(3, 77))
    scores = compare(walk, People.concatenate([walk, later]))
    assert scores.left_out == 3
    assert scores.detection is not None
    assert scores.detection.precision == 1.0


def test_what_a_side_lacks_is_named(
    score: Compare, walk: People, as_truth: Callable[[People], Truth]
) -> None:
    truth = replace(as_truth(walk), parts={"boxes": walk, "tracks": walk}, absent={"poses": "no keypoints"})
    scores = score(truth, Predictions({"boxes": walk}, {"tracks": "no ids"}))
    assert scores.detection is not None
    assert scores.pose is None
    assert scores.tracking is None
    assert [(gap.part, gap.reason) for gap in scores.missing] == [
        ("poses", "no keypoints"),
        ("tracks", "no ids"),
    ]
    assert scores.missing[1].metrics == ("MOTA", "IDF1", "HOTA")


@pytest.mark.parametrize(("side", "words"), [(0, "the truth has"), (1, "the predictions have")])
def test_an_id_twice_in_a_frame_is_refused(compare: Compare, walk: People, side: int, words: str) -> None:
    sides = [walk, walk]
    sides[side] = replace(walk, ids=np.where((walk.frames == 4) & (walk.ids == 2), 1, walk.ids))
    with pytest.raises(InputError, match=f"{words} the id 1 more than once in frame 4"):
        compare(*sides)


def test_more_people_than_cocos_limits_are_all_scored(compare: Compare) -> None:
    column, row = np.divmod(np.arange(120), 12)
    xywh = np.stack([column * 50.0, row * 50.0, np.full(120, 40.0), np.full(120, 40.0)], axis=1)
    keypoints = np.concatenate(
        [xywh[:, None, :2] + np.linspace(1, 39, 17)[:, None], np.full((120, 17, 1), 2)], 2
    )
    crowd = People.of(np.zeros(120), xywh, ids=np.arange(120), keypoints=keypoints)
    scores = compare(crowd, crowd)
    assert scores.detection is not None
    assert scores.pose is not None
    assert (scores.detection.recall, scores.pose.oks_ap) == (1.0, 1.0)


def test_joined_clips_keep_their_people_apart(
    score: Compare,
    walk: People,
    as_truth: Callable[[People], Truth],
    as_predictions: Callable[..., Predictions],
) -> None:
    half = walk.take(walk.ids != 3)
    truth, predictions = join_clips(
        [(as_truth(walk), as_predictions(walk)), (as_truth(walk), as_predictions(half))]
    )
    scores = score(truth, predictions)
    assert scores.tracking is not None
    assert (scores.frames, scores.people) == (20, 60)
    assert (scores.tracking.truth_ids, scores.tracking.predicted_ids, scores.tracking.missed) == (6, 5, 10)
    assert scores.tracking.mota == pytest.approx(50 / 60)
    assert scores.tracking.switches == 0


def test_joining_nothing_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="no clip"):
        join_clips([])


@pytest.mark.parametrize("name", ["pycocotools.coco", "motmetrics", "motrics"])
def test_a_missing_library_says_what_to_install(
    compare: Compare, walk: People, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(NotAvailable, match=r"pip install 'posetask\[eval\]'"):
        compare(walk, walk)
