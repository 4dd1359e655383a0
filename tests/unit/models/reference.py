"""YOLOX and RTMPose written once more, plainly, from the papers' and the reference code's formulas.

Loops, float64, nothing shared with the package; only OpenCV's resampling is common. Loaded by path.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np


def letterbox(
    image: np.ndarray, width: int, height: int, rounding: str = "floor"
) -> tuple[np.ndarray, float, float]:
    """Float32 ``(1, 3, height, width)`` BGR 0..255, and the scales of x and y."""
    h, w = image.shape[:2]
    r = min(height / h, width / w)
    if rounding == "floor":
        nw, nh, sx, sy = int(w * r), int(h * r), r, r
    else:
        nw, nh = int(w * r + 0.5), int(h * r + 0.5)
        sx, sy = nw / w, nh / h
    canvas = np.full((height, width, 3), 114, np.uint8)
    canvas[:nh, :nw] = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None].astype(np.float32)), sx, sy


def iou(a: Any, b: Any) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def suppress(boxes: list[tuple[float, ...]], threshold: float) -> list[int]:
    kept: list[int] = []
    for i, box in enumerate(boxes):
        if all(iou(boxes[k], box) <= threshold for k in kept):
            kept.append(i)
    return kept


def yolox(
    output: np.ndarray,
    width: int,
    height: int,
    scale: float,
    *,
    score: float,
    iou_threshold: float,
    person: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of one picture from ``(anchors, 5 + classes)``."""
    found, anchor = [], 0
    for stride in (8, 16, 32):
        for row in range(height // stride):
            for column in range(width // stride):
                p = output[anchor]
                anchor += 1
                s = np.float32(p[4]) * np.float32(p[5 + person])
                if not s > np.float32(score):
                    continue
                cx, cy = (float(p[0]) + column) * stride, (float(p[1]) + row) * stride
                w, h = math.exp(p[2]) * stride, math.exp(p[3]) * stride
                box = tuple(v / scale for v in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
                found.append((-float(s), anchor, box))
    found.sort(key=lambda f: f[:2])
    kept = suppress([f[2] for f in found], iou_threshold)
    boxes = np.array([found[k][2] for k in kept]).reshape(-1, 4)
    return boxes, np.array([-found[k][0] for k in kept])


def crop_geometry(box: Any, width: int, height: int) -> tuple[float, float, float, float]:
    """Centre and size of the crop."""
    x1, y1, x2, y2 = map(float, box)
    w, h = (x2 - x1) * 1.25, (y2 - y1) * 1.25
    if w > h * width / height:
        h = w * height / width
    else:
        w = h * width / height
    return (x1 + x2) / 2, (y1 + y2) / 2, w, h


def bilinear(image: np.ndarray, box: Any, width: int, height: int) -> np.ndarray:
    """The crop by hand, float64 ``(height, width, 3)``: black outside the frame."""
    cx, cy, w, h = crop_geometry(box, width, height)
    out = np.zeros((height, width, 3))

    def pixel(x: int, y: int) -> np.ndarray:
        inside = 0 <= x < image.shape[1] and 0 <= y < image.shape[0]
        return image[y, x].astype(float) if inside else np.zeros(3)

    for v in range(height):
        for u in range(width):
            x, y = cx + (u - width / 2) * w / width, cy + (v - height / 2) * h / height
            x0, y0 = math.floor(x), math.floor(y)
            fx, fy = x - x0, y - y0
            out[v, u] = (pixel(x0, y0) * (1 - fx) + pixel(x0 + 1, y0) * fx) * (1 - fy) + (
                pixel(x0, y0 + 1) * (1 - fx) + pixel(x0 + 1, y0 + 1) * fx
            ) * fy
    return out


def warp(image: np.ndarray, box: Any, width: int, height: int) -> np.ndarray:
    """The crop by OpenCV, uint8."""
    cx, cy, w, _ = crop_geometry(box, width, height)
    ratio = width / w
    matrix = np.array([[ratio, 0, width / 2 - ratio * cx], [0, ratio, height / 2 - ratio * cy]])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


def normalise(crop: np.ndarray) -> np.ndarray:
    """RGB, ImageNet mean and deviation, float32 ``(3, height, width)``."""
    rgb = crop[:, :, ::-1].astype(np.float64)
    return ((rgb - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]).transpose(2, 0, 1).astype(np.float32)


def simcc(
    x: np.ndarray, y: np.ndarray, box: Any, width: int, height: int, split: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints ``(K, 2)`` in the frame and scores ``(K,)`` from ``(K, bins)`` each."""
    cx, cy, w, h = crop_geometry(box, width, height)
    points, scores = [], []
    for row_x, row_y in zip(x, y, strict=True):
        u, v = int(np.argmax(row_x)) / split, int(np.argmax(row_y)) / split
        score = min(float(row_x.max()), float(row_y.max()))
        if score > 0:
            points.append((u / width * w + cx - w / 2, v / height * h + cy - h / 2))
            scores.append(score)
        else:
            points.append((math.nan, math.nan))
            scores.append(0.0)
    return np.array(points), np.array(scores)
