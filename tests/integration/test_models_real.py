"""Real weights on real frames: what the package answers is what the formulas answer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import onnxruntime as ort
import pytest

from posetask.errors import ModelContract
from posetask.models.rtmpose import RtmposeEstimator
from posetask.models.store import ResolvedModel, resolve_detector, resolve_pose
from posetask.models.yolox import YoloxDetector

pytestmark = pytest.mark.real_data

CLIPS = {
    "mmpose_demo.mp4": (0, 1, 2, 3, 4),
    "store-aisle-detection_480x270.mp4": (0, 20, 45, 66),
    "one-by-one-person-detection.mp4": (0, 150, 400),
}
DETECTORS = {"yolox_nano.onnx": 416, "yolox_nano_person_192.onnx": 192}
POSES = {"tinypose_256x192_simcc.onnx": (192, 256), "tinypose_128x96_simcc.onnx": (96, 128)}


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    path = Path(__file__).parents[1] / "unit" / "models" / "reference.py"
    spec = importlib.util.spec_from_file_location("models_reference_real", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> list[np.ndarray]:
    found = []
    for clip, wanted in CLIPS.items():
        with av.open(str(shared_data / "videos" / clip)) as container:
            for i, frame in enumerate(container.decode(video=0)):
                if i in wanted:
                    found.append(frame.to_ndarray(format="bgr24"))
                if i == max(wanted):
                    break
    assert len(found) == sum(map(len, CLIPS.values()))
    return found


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> Callable[[str], str]:
    return lambda name: str(shared_data / "models" / name)


@pytest.fixture(scope="module")
def nano(weights) -> YoloxDetector:
    return YoloxDetector(resolve_detector(weights("yolox_nano.onnx")), device="cpu")


def plain_session(path: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", DETECTORS)
def test_people_are_where_the_formulas_say(name, weights, frames, reference):
    size = DETECTORS[name]
    detector = YoloxDetector(resolve_detector(weights(name)), device="cpu")
    session, people = plain_session(weights(name)), 0
    for frame in frames:
        tensor, scale, _ = reference.letterbox(frame, size, size)
        output = session.run(None, {"images": tensor})[0][0]
        wanted, wanted_scores = reference.yolox(output, size, size, scale, score=0.1, iou_threshold=0.45)
        ((xyxy, scores),) = detector.detect([frame])
        np.testing.assert_allclose(xyxy, wanted, atol=1e-3)
        np.testing.assert_allclose(scores, wanted_scores, atol=1e-5)
        people += int((scores > 0.5).sum())
    assert people > 30


@pytest.mark.parametrize("name", POSES)
def test_keypoints_are_where_the_formulas_say(name, weights, frames, nano, reference):
    width, height = POSES[name]
    estimator = RtmposeEstimator(resolve_pose(weights(name)), device="cpu")
    session = plain_session(weights(name))
    boxes = [xyxy for xyxy, _ in nano.detect(frames)]
    answers = estimator.estimate(frames, boxes)
    compared = 0
    for frame, people, (keypoints, scores) in zip(frames, boxes, answers, strict=True):
        for i, box in enumerate(people[:12]):
            tensor = reference.normalise(reference.warp(frame, box, width, height))[None]
            x, y = session.run(["simcc_x", "simcc_y"], {"input": tensor})
            wanted, wanted_scores = reference.simcc(x[0], y[0], box, width, height)
            np.testing.assert_allclose(keypoints[i], wanted, atol=1e-3)
            np.testing.assert_allclose(scores[i], wanted_scores, atol=1e-5)
            compared += 1
    assert compared > 60


def test_bodies_are_bodies(weights, frames, nano):
    """Not only the same as the formulas: upright, inside the box, and sure of it."""
    estimator = RtmposeEstimator(resolve_pose(weights("tinypose_256x192_simcc.onnx")), device="cpu")
    frame = frames[-1]
    ((xyxy, scores),) = nano.detect([frame])
    assert scores[0] > 0.8
    ((keypoints, sure),) = estimator.estimate([frame], [xyxy[:1]])
    person, box = keypoints[0], xyxy[0]
    shoulders, hips, ankles = (person[[a, a + 1], 1].mean() for a in (5, 11, 15))
    assert shoulders < hips < ankles
    assert sure[0, [5, 6, 11, 12]].min() > 0.5
    torso = person[[5, 6, 11, 12]]
    assert (torso > box[:2]).all()
    assert (torso < box[2:]).all()


def test_threads_change_nothing(weights, frames, nano):
    estimator = RtmposeEstimator(
        resolve_pose(weights("tinypose_128x96_simcc.onnx")), device="cpu", sessions=3
    )
    found = nano.detect(frames)
    alone = [estimator.estimate([f], [xyxy])[0] for f, (xyxy, _) in zip(frames, found, strict=True)]

    def both(frame: np.ndarray) -> tuple[np.ndarray, ...]:
        ((xyxy, scores),) = nano.detect([frame])
        return xyxy, scores, *estimator.estimate([frame], [xyxy])[0]

    with ThreadPoolExecutor(4) as pool:
        for once in (0, 1):
            for i, got in enumerate(pool.map(both, frames)):
                for a, b in zip(got, (*found[i], *alone[i]), strict=True):
                    np.testing.assert_array_equal(a, b, err_msg=f"frame {i}, round {once}")


def test_a_detector_is_no_pose_estimator(weights):
    with pytest.raises(ModelContract, match="detects people"):
        resolve_pose(weights("yolox_nano.onnx"))
    pose, detector = (
        resolve_pose(weights("tinypose_128x96_simcc.onnx")),
        resolve_detector(weights("yolox_nano.onnx")),
    )
    with pytest.raises(ModelContract, match="takes pictures of 416x416, expected 96x128"):
        RtmposeEstimator(ResolvedModel(pose.spec, detector.path, detector.sha256))
