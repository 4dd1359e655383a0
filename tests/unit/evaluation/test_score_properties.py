"""What holds for all scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from posetask.evaluation import People, Predictions, Scores, Truth

few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def people(draw: st.DrawFn, least: int = 0) -> People:
    """Up to 12 people in up to 4 frames, ids unique in a frame, boxes on a coarse grid so that many touch."""
    keys = draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=least, max_size=12, unique=True)
    )
    n = len(keys)
    xy = draw(hnp.arrays(np.int64, (n, 2), elements=st.integers(0, 6))) * 10.0
    wh = draw(hnp.arrays(np.int64, (n, 2), elements=st.integers(1, 4))) * 10.0
    scores = draw(hnp.arrays(np.int64, (n,), elements=st.integers(1, 4))) / 4
    joints = xy[:, None, :] + draw(hnp.arrays(np.int64, (n, 17, 2), elements=st.integers(0, 30)))
    return People.of(
        [frame for frame, _ in keys],
        np.concatenate([xy, wh], axis=1),
        ids=[identity for _, identity in keys],
        scores=scores,
        keypoints=np.concatenate([joints, np.full((n, 17, 1), 2.0)], axis=2),
    )


def sides(truth: People, predictions: People) -> tuple[Truth, Predictions]:
    return (
        Truth({"boxes": truth, "poses": truth, "tracks": truth}, frames=np.arange(4)),
        Predictions({"boxes": predictions, "poses": predictions, "tracks": predictions}),
    )


@few
@given(truth=people(least=1), predictions=people())
def test_every_score_is_within_its_bounds(
    score: Callable[..., Scores], truth: People, predictions: People
) -> None:
    scores = score(*sides(truth, predictions))
    assert scores.detection is not None
    assert scores.pose is not None
    assert scores.tracking is not None
    tracks = scores.tracking
    shares = [scores.detection.ap, scores.detection.recall, scores.pose.oks_ap, tracks.idf1, tracks.hota]
    assert all(0 <= share <= 1 for share in shares)
    assert tracks.mota <= 1
    assert scores.detection.ap <= scores.detection.ap50 + 1e-12  # a mean of equal numbers rounds
    assert scores.detection.found + scores.detection.missed == len(truth)
    assert scores.detection.found + scores.detection.false_alarms == len(predictions)
    assert sum(span.last - span.first + 1 for span in tracks.spans) >= len(truth)


@few
@given(truth=people(least=1), predictions=people(), data=st.data())
def test_the_order_of_the_rows_does_not_matter(
    score: Callable[..., Scores], truth: People, predictions: People, data: st.DataObject
) -> None:
    shuffled = [
        table.take(np.array(data.draw(st.permutations(range(len(table)))), np.intp))
        for table in (truth, predictions)
    ]
    assert score(*sides(*shuffled)) == score(*sides(truth, predictions))


@few
@given(truth=people(least=1), predictions=people())
def test_the_names_of_the_ids_do_not_matter(
    score: Callable[..., Scores], truth: People, predictions: People
) -> None:
    before = score(*sides(truth, predictions)).tracking
    after = score(*sides(truth, replace(predictions, ids=predictions.ids + 1000))).tracking
    assert before is not None
    assert after is not None
    assert (after.mota, after.idf1, after.hota) == (before.mota, before.idf1, before.hota)


@few
@given(truth=people(least=1))
def test_the_truth_itself_finds_everybody(score: Callable[..., Scores], truth: People) -> None:
    scores = score(*sides(truth, replace(truth, scores=np.ones(len(truth)))))
    assert scores.detection is not None
    assert scores.tracking is not None
    found = scores.detection
    assert (found.recall, found.precision, found.ap) == pytest.approx((1, 1, 1))
    assert (scores.tracking.missed, scores.tracking.false_alarms) == (0, 0)
