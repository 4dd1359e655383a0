from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from posetask.errors import InvalidParameters, ModelContract
from posetask.models.store import ResolvedModel, resolve_detector
from posetask.models.yolox import YoloxDetector
from posetask.telemetry import Timings

SIZES = [(64, 64), (40, 90), (270, 200), (1080, 1920), (7, 300), (333, 12)]


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Blobs of strong colour: some cells fire, others do not."""
    blobs = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)


def graph(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("nms_threshold", [None, 0.65])
def test_it_finds_what_the_plain_implementation_finds(
    make_yolox, reference: ModuleType, threshold, nms_threshold
):
    path = make_yolox()
    detector = YoloxDetector(
        resolve_detector(str(path)), score_threshold=threshold, nms_threshold=nms_threshold, sessions=1
    )
    session, total = graph(path), 0
    for seed, (height, width) in enumerate(SIZES):
        image = picture(seed, height, width)
        tensor, scale, _ = reference.letterbox(image, 64, 64)
        output = session.run(None, {"images": tensor})[0][0]
        wanted, scores = reference.yolox(
            output, 64, 64, scale, score=threshold, iou_threshold=nms_threshold or 0.45
        )
        ((xyxy, got),) = detector.detect([image])
        assert xyxy.dtype == got.dtype == np.float32
        np.testing.assert_allclose(xyxy, wanted, atol=1e-3)
        np.testing.assert_allclose(got, scores, atol=1e-6)
        total += len(got)
    assert total > 20


def test_the_boxes_depend_on_colour_order(make_yolox):
    detector = YoloxDetector(resolve_detector(str(make_yolox())), sessions=1)
    image = picture(5, 200, 200)
    ((_, one),) = detector.detect([image])
    ((_, other),) = detector.detect([np.ascontiguousarray(image[:, :, ::-1])])
    assert len(one) != len(other) or not np.allclose(one, other)


def test_a_smaller_frame_after_a_larger_one_leaves_no_trace(make_yolox):
    path = str(make_yolox())
    frames = [picture(s, h, w) for s, (h, w) in enumerate([(100, 100), (30, 100), (100, 20), (30, 100)])]
    used = YoloxDetector(resolve_detector(path), sessions=1)
    for frame in frames:
        ((xyxy, scores),) = used.detect([frame])
        ((fresh, fresh_scores),) = YoloxDetector(resolve_detector(path), sessions=1).detect([frame])
        np.testing.assert_array_equal(xyxy, fresh)
        np.testing.assert_array_equal(scores, fresh_scores)


def test_frames_of_one_call_do_not_touch_each_other(make_yolox):
    detector = YoloxDetector(resolve_detector(str(make_yolox())), sessions=1)
    frames = [picture(s, h, w) for s, (h, w) in enumerate(SIZES)]
    together = detector.detect(frames)
    for frame, (xyxy, scores) in zip(frames, together, strict=True):
        ((alone, alone_scores),) = detector.detect([frame])
        np.testing.assert_array_equal(xyxy, alone)
        np.testing.assert_array_equal(scores, alone_scores)
    assert detector.detect([]) == []


@pytest.mark.parametrize("batch", ["n", 4])
def test_other_batch_sizes_give_the_same(make_yolox, batch):
    frames = [picture(s, h, w) for s, (h, w) in enumerate(SIZES)]
    plain = YoloxDetector(resolve_detector(str(make_yolox("one.onnx"))), sessions=1).detect(frames)
    other = YoloxDetector(resolve_detector(str(make_yolox("other.onnx", batch=batch))), sessions=1)
    for (a, s), (b, t) in zip(plain, other.detect(frames), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(s, t, atol=1e-6)


def test_four_threads_get_the_same_answers(make_yolox):
    detector = YoloxDetector(resolve_detector(str(make_yolox())), sessions=3)
    frames = [picture(s, 120 + 7 * (s % 3), 160) for s in range(12)]
    alone = detector.detect(frames)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for (a, s), (((b, t),)) in zip(
                alone, pool.map(lambda f: detector.detect([f]), frames), strict=True
            ):
                np.testing.assert_array_equal(a, b)
                np.testing.assert_array_equal(s, t)


def test_nobody_is_an_empty_answer_not_an_error(make_yolox):
    detector = YoloxDetector(resolve_detector(str(make_yolox())), sessions=1, score_threshold=0.999)
    ((xyxy, scores),) = detector.detect([np.full((50, 50, 3), 127, np.uint8)])
    assert xyxy.shape == (0, 4)
    assert scores.shape == (0,)
    assert xyxy.dtype == scores.dtype == np.float32


def test_max_people_keeps_the_best(make_yolox):
    resolved = resolve_detector(str(make_yolox()))
    image = picture(2, 300, 300)
    ((everyone, scores),) = YoloxDetector(resolved, sessions=1).detect([image])
    ((few, few_scores),) = YoloxDetector(resolved, sessions=1, max_people=2).detect([image])
    assert len(scores) > 2
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_array_equal(few, everyone[:2])
    np.testing.assert_array_equal(few_scores, scores[:2])


def planted(tmp_path: Path, rows: np.ndarray) -> ResolvedModel:
    """A graph whose raw output is ``rows`` whatever it sees."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
                helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
                helper.make_node("Add", ["rows", "nothing"], ["output"]),
            ],
            "planted",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 84, 6])],
            [
                numpy_helper.from_array(rows.astype(np.float32)[None], "rows"),
                numpy_helper.from_array(np.float32(0), "zero"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=7,
    )
    onnx.save(model, tmp_path / "planted.onnx")
    return resolve_detector(str(tmp_path / "planted.onnx"))


def test_a_planted_person_is_found_where_it_was_planted(tmp_path):
    rows = np.zeros((84, 6))
    # level of stride 16 starts at 64; its cell (2, 1): x = (0.25 + 2) * 16, y = (0.5 + 1) * 16
    rows[64 + 1 * 4 + 2] = [0.25, 0.5, np.log(0.5), np.log(1.25), 0.9, 0.8]
    ((xyxy, scores),) = YoloxDetector(planted(tmp_path, rows), sessions=1).detect(
        [np.zeros((128, 128, 3), np.uint8)]
    )
    np.testing.assert_allclose(xyxy, [[64, 28, 80, 68]], atol=1e-4)  # 36 -/+ 4, 24 -/+ 10, twice the size
    assert scores == pytest.approx([0.72])


@pytest.mark.parametrize(
    "row",
    [
        pytest.param([0, 0, 800, 0, 1, 1], id="infinite width"),
        pytest.param([0, 0, -800, 0, 1, 1], id="no width"),
        pytest.param([np.nan, 0, 0, 0, 1, 1], id="x is nan"),
        pytest.param([0, 0, 0, 0, np.nan, 1], id="score is nan"),
        pytest.param([0, 0, 0, 0, 0.1, 1], id="score at the threshold"),
    ],
)
def test_a_wild_anchor_is_nobody(tmp_path, row):
    rows = np.zeros((84, 6))
    rows[10] = row
    rows[70] = [0, 0, 0, 0, 0.9, 1]
    ((xyxy, scores),) = YoloxDetector(planted(tmp_path, rows), sessions=1).detect(
        [np.zeros((64, 64, 3), np.uint8)]
    )
    assert len(xyxy) == len(scores) == 1
    assert np.isfinite(xyxy).all()
    assert scores[0] == pytest.approx(0.9)


def test_equal_scores_keep_the_networks_order(tmp_path):
    rows = np.zeros((84, 6))
    for anchor in (3, 20, 40):
        rows[anchor] = [0, 0, 0, 0, 0.5, 1]
    ((xyxy, _),) = YoloxDetector(planted(tmp_path, rows), sessions=1).detect(
        [np.zeros((64, 64, 3), np.uint8)]
    )
    centres = (xyxy[:, :2] + xyxy[:, 2:]) / 2 / 8
    np.testing.assert_allclose(centres, [[3, 0], [4, 2], [0, 5]], atol=1e-5)


DETS = [
    [8, 8, 24, 40, 0.9],
    [9, 8, 25, 40, 0.8],
    [30, 10, 50, 60, 0.5],
    [0, 0, 5, 5, 0.05],
    [5, 5, 5, 9, 0.9],
]


def test_a_model_with_nms_inside_is_read_as_it_is(make_nms_yolox):
    detector = YoloxDetector(resolve_detector(str(make_nms_yolox(DETS))), sessions=1)
    ((xyxy, scores),) = detector.detect(
        [np.full((128, 64, 3), 255, np.uint8)]
    )  # half the scale; grey to the right
    level = (255 + 114) / 2 / 255
    assert scores == pytest.approx(np.array([0.9, 0.8, 0.5]) * level, abs=1e-5)
    np.testing.assert_allclose(xyxy, np.array(DETS)[:3, :4] * 2, atol=1e-4)
    again = YoloxDetector(resolve_detector(str(make_nms_yolox(DETS))), sessions=1, nms_threshold=0.5)
    ((xyxy, _),) = again.detect([np.full((64, 64, 3), 255, np.uint8)])
    np.testing.assert_allclose(xyxy, [DETS[0][:4], DETS[2][:4]], atol=1e-4)


def test_mmdetections_resize_rounds_and_scales_each_side(make_nms_yolox, reference: ModuleType):
    detector = YoloxDetector(resolve_detector(str(make_nms_yolox(DETS))), sessions=1)
    image = picture(1, 333, 1000)
    _, sx, sy = reference.letterbox(image, 64, 64, "nearest")
    assert sx != sy
    ((xyxy, _),) = detector.detect([image])
    np.testing.assert_allclose(xyxy[0], np.array(DETS[0][:4]) / [sx, sy, sx, sy], atol=1e-3)


def test_only_people_of_a_model_with_labels(make_nms_yolox):
    path = make_nms_yolox(DETS, labels=[0, 7, 0, 0, 0])
    ((_, scores),) = YoloxDetector(resolve_detector(str(path)), sessions=1).detect(
        [np.full((64, 64, 3), 255, np.uint8)]
    )
    assert scores == pytest.approx([0.9, 0.5])


def test_an_nms_model_that_finds_nobody(make_nms_yolox):
    ((xyxy, scores),) = YoloxDetector(resolve_detector(str(make_nms_yolox(DETS))), sessions=1).detect(
        [np.zeros((64, 64, 3), np.uint8)]
    )
    assert xyxy.shape == (0, 4)
    assert len(scores) == 0


def test_strided_and_read_only_pictures_are_pictures(make_yolox):
    detector = YoloxDetector(resolve_detector(str(make_yolox())), sessions=1)
    image = picture(4, 100, 150)
    wanted = detector.detect([image])[0]
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, ::2] = image
    frozen = image.copy()
    frozen.setflags(write=False)
    upside = np.ascontiguousarray(image[::-1])
    for view in (wide[:, ::2], frozen, upside[::-1]):
        np.testing.assert_array_equal(detector.detect([view])[0][0], wanted[0])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(make_yolox, image):
    detector = YoloxDetector(resolve_detector(str(make_yolox())), sessions=1)
    with pytest.raises(ValueError, match="expected a uint8 picture"):
        detector.detect([image])


@pytest.mark.parametrize(
    "wrong",
    [
        {"score_threshold": -0.1},
        {"score_threshold": 1.0},
        {"nms_threshold": 0.0},
        {"nms_threshold": 1.1},
        {"max_people": 0},
        {"sessions": 0},
        {"device": "tpu"},
    ],
)
def test_wrong_parameters_are_named(make_yolox, wrong):
    with pytest.raises(InvalidParameters, match=next(iter(wrong)).split("_")[0]):
        YoloxDetector(resolve_detector(str(make_yolox())), **wrong)


def test_a_graph_with_other_outputs_than_its_spec_is_named(make_yolox):
    resolved = resolve_detector(str(make_yolox(classes=3)))
    lying = ResolvedModel(resolved.spec.model_copy(update={"classes": 80}), resolved.path, resolved.sha256)
    with pytest.raises(ModelContract, match=r"expected an output of \[1, 84, 85\].*got output \[1, 84, 8\]"):
        YoloxDetector(lying, sessions=1)
    nms = resolved.spec.model_copy(update={"output": "nms"})
    with pytest.raises(ModelContract, match=r"\[1, people, 5\]"):
        YoloxDetector(ResolvedModel(nms, resolved.path, resolved.sha256), sessions=1)


def test_it_says_what_runs_and_where_the_time_went(make_yolox):
    timings = Timings()
    resolved = resolve_detector(str(make_yolox()))
    detector = YoloxDetector(resolved, device="cpu", timings=timings)
    detector.detect([picture(0, 50, 50)])
    assert detector.info.sha256 == resolved.sha256
    assert detector.info.provider == "CPUExecutionProvider"
    assert (detector.info.width, detector.info.height) == (64, 64)
    assert not detector.on_gpu
    assert set(timings.seconds()) == {"yolox.pre", "yolox.infer", "yolox.post"}
    assert min(timings.seconds().values()) > 0
    detector.close()
    with pytest.raises(RuntimeError, match="closed"):
        detector.detect([picture(0, 50, 50)])
