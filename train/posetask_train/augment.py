"""What is done to a stored sample each time it is seen."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from posetask_train.data import CROP_SIZE
from posetask_train.sizes import DETECTOR_SIZE, POSE_SIZE

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FLIP = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15])


def colour(rng: np.random.Generator, image: Picture) -> Picture:
    """Light, contrast, tint, blur, noise, and at times no colour at all."""
    if rng.random() < 0.7:
        gain = rng.uniform(0.7, 1.35) * rng.uniform(0.9, 1.1, 3)
        shift = rng.uniform(-18, 18) + rng.uniform(-6, 6, 3)
        table = np.clip(np.arange(256)[:, None] * gain + shift, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, table[:, None, :]).astype(np.uint8)
    u = rng.random()
    if u < 0.06:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    elif u < 0.14:
        image = np.ascontiguousarray(image[..., rng.permutation(3)])
    u = rng.random()
    if u < 0.12:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)).astype(np.uint8)
    elif u < 0.24:
        noise = rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.int16)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _cutout(rng: np.random.Generator, image: Picture, chance: float, largest: float) -> None:
    if rng.random() > chance:
        return
    h, w = image.shape[:2]
    bh, bw = int(h * rng.uniform(0.08, largest)), int(w * rng.uniform(0.08, largest))
    y, x = int(rng.integers(0, h - bh)), int(rng.integers(0, w - bw))
    image[y : y + bh, x : x + bw] = rng.integers(0, 256, 3)


def frame(rng: np.random.Generator, image: Picture, boxes: Floats) -> tuple[Picture, Floats]:
    """Vary a frame for the detector: flipped, scaled and shifted within its letterbox, recoloured.

    Args:
        rng: Source of chance.
        image: ``(192, 320, 3)`` BGR.
        boxes: ``(M, 5)`` xyxy and visibility; rows below 0 are empty.

    Returns:
        The picture and its boxes; one that lost more than half of its area counts as hidden.
    """
    height, width = DETECTOR_SIZE
    boxes = boxes[boxes[:, 4] >= 0].copy()
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    if rng.random() < 0.75:
        k = math.exp(rng.uniform(math.log(0.65), math.log(1.5)))
        sx, sy = k * rng.uniform(0.92, 1.08), k * rng.uniform(0.92, 1.08)
        tx = rng.uniform(min(0, width - sx * width), max(0, width - sx * width))
        ty = rng.uniform(min(0, height - sy * height), max(0, height - sy * height))
        # cv2 counts from pixel centres, boxes from pixel corners
        matrix = np.array([[sx, 0, tx + 0.5 * sx - 0.5], [0, sy, ty + 0.5 * sy - 0.5]])
        image = cv2.warpAffine(image, matrix, (width, height), borderValue=(114, 114, 114)).astype(np.uint8)
        whole = boxes.copy()
        whole[:, [0, 2]] = whole[:, [0, 2]] * sx + tx
        whole[:, [1, 3]] = whole[:, [1, 3]] * sy + ty
        boxes[:, :4] = np.clip(whole[:, :4], 0, [width, height, width, height])
        before = (whole[:, 2] - whole[:, 0]) * (whole[:, 3] - whole[:, 1])
        after = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        boxes[:, 4] *= np.minimum(1, after / np.maximum(before, 1e-6))
    image = colour(rng, image)
    _cutout(rng, image, 0.15, 0.25)
    keep = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) > 1.5
    return image, boxes[keep]


def crop(rng: np.random.Generator, image: Picture, points: Floats) -> tuple[Picture, Floats]:
    """Vary a crop for the estimator: scaled, turned and shifted as a rough box would, flipped, recoloured.

    Args:
        rng: Source of chance.
        image: ``CROP_SIZE`` BGR.
        points: ``(17, 3)`` x, y, v in the stored crop.

    Returns:
        The picture ``(128, 96, 3)`` and its points; those outside get v = 0.
    """
    height, width = POSE_SIZE
    k = math.exp(rng.normal(0, 0.12)) if rng.random() < 0.8 else 1.0
    k = min(max(k, 0.72), 1.4)
    turn = rng.uniform(-0.4, 0.4) if rng.random() < 0.35 else 0.0
    c, s = k * math.cos(turn), k * math.sin(turn)
    centre = np.array([CROP_SIZE[1] / 2, CROP_SIZE[0] / 2]) + rng.normal(0, 0.03, 2) * [width, height]
    matrix = np.array([[c, -s, 0.0], [s, c, 0.0]])
    matrix[:, 2] = np.array([width / 2, height / 2]) - matrix[:, :2] @ centre
    out = cv2.warpAffine(image, matrix, (width, height)).astype(np.uint8)
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    if rng.random() < 0.5:
        out = np.ascontiguousarray(out[:, ::-1])
        moved = moved[FLIP]
        moved[:, 0] = width - moved[:, 0]
    beyond = (moved[:, :2] < 0).any(1) | (moved[:, 0] >= width) | (moved[:, 1] >= height)
    moved[beyond, 2] = 0
    out = colour(rng, out)
    _cutout(rng, out, 0.2, 0.3)
    return out, moved
