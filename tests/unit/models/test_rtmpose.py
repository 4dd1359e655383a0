from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetask.errors import ModelContract
from posetask.models import rtmpose
from posetask.models.rtmpose import RtmposeEstimator
from posetask.models.store import ResolvedModel, resolve_pose
from posetask.telemetry import Timings

W, H = 24, 32


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 2)


def people(seed: int, n: int, height: int = 120, width: int = 160) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, (width - 20, height - 20), (n, 2))
    return np.concatenate([corner, corner + rng.uniform(15, 110, (n, 2))], axis=1).astype(np.float32)


def plain(
    reference: ModuleType, path: Path, image: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = []
    for box in boxes:
        tensor = reference.normalise(reference.warp(image, box, W, H))[None]
        x, y = session.run(["simcc_x", "simcc_y"], {"input": tensor})
        found.append(reference.simcc(x[0], y[0], box, W, H))
    return np.array([p for p, _ in found]), np.array([s for _, s in found])


def test_it_estimates_what_the_plain_implementation_estimates(make_pose, reference: ModuleType):
    path = make_pose()
    estimator = RtmposeEstimator(resolve_pose(str(path)), sessions=1)
    for seed, (height, width) in enumerate([(120, 160), (300, 90), (64, 64), (540, 960)]):
        image, boxes = picture(seed, height, width), people(seed, 9, height, width)
        ((keypoints, scores),) = estimator.estimate([image], [boxes])
        assert keypoints.shape == (9, 17, 2)
        assert scores.shape == (9, 17)
        assert keypoints.dtype == scores.dtype == np.float32
        wanted, wanted_scores = plain(reference, path, image, boxes)
        np.testing.assert_allclose(keypoints, wanted, atol=1e-3)
        np.testing.assert_allclose(scores, wanted_scores, rtol=1e-4, atol=1e-4)


def test_the_way_through_bgra_is_the_same_to_the_last_bit(make_pose, monkeypatch):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    image, boxes = picture(1, 500, 700), people(1, 9, 500, 700)
    answers = []
    for pixels in (0, 10**9):
        monkeypatch.setattr(rtmpose, "_BGRA_PIXELS_PER_PERSON", pixels)
        answers.append(estimator.estimate([image], [boxes])[0])
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_people_of_many_pictures_are_put_back_in_order(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    counts = [3, 0, 1, 6, 0, 2]
    images = [picture(i, 100 + 20 * i, 150) for i in range(len(counts))]
    boxes = [people(i, n, 100, 150) for i, n in enumerate(counts)]
    together = estimator.estimate(images, boxes)
    assert [len(k) for k, _ in together] == counts
    for image, box, (keypoints, scores) in zip(images, boxes, together, strict=True):
        for i in range(len(box)):
            ((alone, alone_scores),) = estimator.estimate([image], [box[i : i + 1]])
            np.testing.assert_array_equal(keypoints[i], alone[0])
            np.testing.assert_array_equal(scores[i], alone_scores[0])


def test_a_call_never_sees_the_last_calls_picture(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    box = people(0, 2)
    ((first, _),) = estimator.estimate([picture(1)], [box])
    ((second, _),) = estimator.estimate([picture(2)], [box])
    fresh = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    np.testing.assert_array_equal(second, fresh.estimate([picture(2)], [box])[0][0])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_graph_of_fixed_batch_gives_the_same(make_pose, batch):
    image, boxes = picture(3), people(3, 7)
    free = RtmposeEstimator(resolve_pose(str(make_pose("free.onnx"))), sessions=1)
    fixed = RtmposeEstimator(resolve_pose(str(make_pose("fixed.onnx", batch=batch))), sessions=1)
    for a, b in zip(free.estimate([image], [boxes])[0], fixed.estimate([image], [boxes])[0], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_four_threads_get_the_same_answers(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=3)
    jobs = [([picture(s), picture(s + 50, 90, 70)], [people(s, 5), people(s, 2, 90, 70)]) for s in range(8)]
    alone = [estimator.estimate(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            for one, other in zip(alone, pool.map(lambda j: estimator.estimate(*j), jobs), strict=True):
                for (k, s), (m, t) in zip(one, other, strict=True):
                    np.testing.assert_array_equal(k, m)
                    np.testing.assert_array_equal(s, t)


INF = float("inf")


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((50, 50, 50, 90), id="no width"),
        pytest.param((50, 50, 90, 50), id="no height"),
        pytest.param((90, 50, 50, 90), id="turned round"),
        pytest.param((float("nan"), 0, 10, 10), id="nan"),
        pytest.param((0, 0, INF, 10), id="infinite"),
        pytest.param((-INF, -INF, INF, INF), id="all infinite"),
        pytest.param((1000, 1000, 1100, 1100), id="far outside"),
        pytest.param((-200, 0, -100, 100), id="left of the frame"),
        pytest.param((-1e9, -1e9, 1e9, 1e9), id="huge"),
        pytest.param((3e38, 3e38, 3.2e38, 3.3e38), id="at the end of float32"),
        pytest.param((50, 50, 50.001, 50.001), id="a thousandth of a pixel"),
    ],
)
def test_a_box_that_is_nobody_gives_null_and_spoils_nobody_else(make_pose, box):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    good, image = people(0, 2), picture(0)
    boxes = np.stack([good[0], np.array(box, np.float32), good[1]])
    ((keypoints, scores),) = estimator.estimate([image], [boxes])
    assert np.isnan(keypoints[1]).all()
    assert (scores[1] == 0).all()
    ((wanted, _),) = estimator.estimate([image], [good])
    np.testing.assert_array_equal(keypoints[[0, 2]], wanted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.tuples(*[st.floats(width=32)] * 4), min_size=1, max_size=6))
def test_no_box_whatever_makes_it_fail(make_pose, boxes):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    ((keypoints, scores),) = estimator.estimate([picture(0, 40, 50)], [np.array(boxes, np.float32)])
    assert keypoints.shape == (len(boxes), 17, 2)
    assert (np.isnan(keypoints).any(axis=2) == (scores == 0)).all()


def test_a_keypoint_without_evidence_is_null(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose(shift=-1e6))), sessions=1)
    ((keypoints, scores),) = estimator.estimate([picture(0)], [people(0, 2)])
    assert np.isnan(keypoints).all()
    assert (scores == 0).all()


def test_the_mean_rule_scores_higher_than_the_min_rule(make_pose):
    resolved = resolve_pose(str(make_pose()))
    mean = ResolvedModel(
        resolved.spec.model_copy(update={"score_rule": "mean"}), resolved.path, resolved.sha256
    )
    ((k, low),) = RtmposeEstimator(resolved, sessions=1).estimate([picture(0)], [people(0, 3)])
    ((m, high),) = RtmposeEstimator(mean, sessions=1).estimate([picture(0)], [people(0, 3)])
    np.testing.assert_array_equal(k, m)
    assert (high >= low).all()
    assert (high > low).any()


def test_no_people_is_no_work(make_pose):
    timings = Timings()
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1, timings=timings)
    before = timings.seconds()
    assert estimator.estimate([], []) == []
    ((keypoints, scores),) = estimator.estimate([picture(0)], [np.zeros((0, 4), np.float32)])
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)
    assert timings.seconds() == before


def test_counts_that_differ_are_refused(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose())), sessions=1)
    with pytest.raises(ValueError, match="1 pictures and boxes for 2"):
        estimator.estimate([picture(0)], [people(0, 1), people(0, 1)])
    with pytest.raises(ValueError, match="expected a uint8 picture"):
        estimator.estimate([picture(0)[:, :, 0]], [people(0, 1)])


def test_a_graph_that_declares_no_shapes_is_checked_by_running(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose(declare=False))), sessions=1)
    assert estimator.keypoints == 17
    resolved = resolve_pose(str(make_pose("five.onnx", keypoints=5, declare=False)))
    with pytest.raises(ModelContract, match=r"expected simcc_x \[1, 17, 48\].*got simcc_x \[1, 5, 48\]"):
        RtmposeEstimator(resolved, sessions=1)


def test_other_keypoint_counts_work(make_pose):
    estimator = RtmposeEstimator(resolve_pose(str(make_pose(keypoints=26))), sessions=1)
    assert estimator.keypoints == 26
    assert estimator.estimate([picture(0)], [people(0, 1)])[0][0].shape == (1, 26, 2)


def test_it_says_what_runs_and_where_the_time_went(make_pose):
    timings = Timings()
    resolved = resolve_pose(str(make_pose()))
    estimator = RtmposeEstimator(resolved, device="cpu", timings=timings)
    estimator.estimate([picture(0)], [people(0, 2)])
    assert estimator.info.sha256 == resolved.sha256
    assert (estimator.info.width, estimator.info.height) == (W, H)
    assert not estimator.on_gpu
    assert set(timings.seconds()) == {"rtmpose.pre", "rtmpose.infer", "rtmpose.post"}
    estimator.close()
    with pytest.raises(RuntimeError, match="closed"):
        estimator.estimate([picture(0)], [people(0, 1)])
