"""The trainer's samples: truth stays on the people whatever is done to the picture. Needs no PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from posetask_train import augment, data
from posetask_train.sizes import DETECTOR_SIZE, POSE_SIZE

from posetask.models.imageops import crop_matrix, crop_scale
from posetask.synth.world import World


def marked(shape: tuple[int, int], points: np.ndarray, radius: float) -> np.ndarray:
    """A grey picture with a white disc at each point (corner-based pixels)."""
    image = np.full((*shape, 3), 90, np.uint8)
    for x, y in points:
        centre = (round((x - 0.5) * 16), round((y - 0.5) * 16))
        cv2.circle(image, centre, round(radius * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


def test_a_cropped_keypoint_stays_on_its_place() -> None:
    point = np.array([[70.0, 60.0]])
    image = marked(data.CROP_SIZE, point, 9)
    points = np.full((17, 3), 2, np.float32)
    points[:, :2] = point
    hits = 0
    for seed in range(60):
        out, moved = augment.crop(np.random.default_rng(seed), image, points)
        assert out.shape == (*POSE_SIZE, 3)
        x, y, v = moved[0]
        if v == 0 or not (2 < x < 94 and 2 < y < 126):
            continue
        patch = out[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean()
        hits += patch > out.mean()
    assert hits > 45  # colours and cut-outs hide some


def test_a_flip_swaps_left_and_right() -> None:
    points = np.zeros((17, 3), np.float32)
    points[:, 2] = 2
    points[:, :2] = np.stack([20 + 5 * np.arange(17), 20 + 6 * np.arange(17)], -1)
    flipped = straight = 0
    image = np.zeros((*data.CROP_SIZE, 3), np.uint8)
    for seed in range(40):
        _, moved = augment.crop(np.random.default_rng(seed), image, points)
        # of the shoulders (5 left, 6 right) the left one lies above, and in a flip the right one does
        if moved[5, 1] < moved[6, 1]:
            straight += 1
        else:
            flipped += 1
    assert min(flipped, straight) > 8
    assert augment.FLIP[augment.FLIP].tolist() == list(range(17))


def test_boxes_follow_the_frame() -> None:
    box = np.array([[120.0, 60.0, 160.0, 130.0, 1.0]], np.float32)
    image = np.full((*DETECTOR_SIZE, 3), 90, np.uint8)
    image[60:130, 120:160] = 255
    for seed in range(60):
        out, boxes = augment.frame(np.random.default_rng(seed), image, box)
        assert out.shape == (*DETECTOR_SIZE, 3)
        if not len(boxes) or boxes[0, 4] < 0.9:
            continue
        x0, y0, x1, y1 = boxes[0, :4]
        inside = out[int(y0) + 3 : int(y1) - 2, int(x0) + 3 : int(x1) - 2].astype(float)
        ring = out[max(0, int(y0) - 6) : max(1, int(y0) - 3), int(x0) : int(x1)].astype(float)
        if ring.size:
            assert np.median(inside) > np.median(ring)


def test_empty_rows_are_no_boxes() -> None:
    boxes = np.full((data.MAX_BOXES, 5), -1, np.float32)
    image = np.zeros((*DETECTOR_SIZE, 3), np.uint8)
    for seed in range(10):
        assert len(augment.frame(np.random.default_rng(seed), image, boxes)[1]) == 0


@pytest.mark.parametrize("box", [[10.0, 20.0, 60.0, 180.0], [5.0, 5.0, 205.0, 65.0]])
def test_training_crops_as_inference_does(box: list[float]) -> None:
    xyxy = np.array(box)
    centre, size = crop_scale(xyxy[None], 0.75, 1.25)
    expected = crop_matrix(centre[0], size[0], POSE_SIZE[1], POSE_SIZE[0])
    np.testing.assert_allclose(data.crop_matrix(xyxy, POSE_SIZE), expected, atol=1e-9)


def test_training_never_uses_a_held_seed() -> None:
    plan = data.Plan()
    seeds = [data.world_of(plan, k)[0].seed for k in range(0, plan.worlds, 97)]
    assert min(seeds) >= data.TRAIN_SEED
    assert data.world_of(plan, 0, data.CHECK_SEED)[0].seed not in seeds


def test_the_data_set_is_rendered_once_and_as_planned(tmp_path: Path) -> None:
    plan = data.Plan(worlds=2, frames_a_world=2, crops_a_frame=2)
    data.render(tmp_path / "set", plan, workers=1)
    frames, boxes = np.load(tmp_path / "set/frames.npy"), np.load(tmp_path / "set/boxes.npy")
    points = np.load(tmp_path / "set/points.npy")
    assert frames.shape == (4, *DETECTOR_SIZE, 3)
    assert points.shape == (8, 17, 3)
    spec, indices = data.world_of(plan, 1)
    image, truth = World(spec).frame(indices[1])
    expected, _ = data.letterbox(image)
    assert np.array_equal(frames[3], expected)
    assert (boxes[3, :, 4] >= 0).sum() == min(len(truth), data.MAX_BOXES)
    stamp = (tmp_path / "set/plan.json").stat().st_mtime_ns
    data.render(tmp_path / "set", plan, workers=1)
    assert (tmp_path / "set/plan.json").stat().st_mtime_ns == stamp
    assert json.loads((tmp_path / "set/plan.json").read_text())["worlds"] == 2
