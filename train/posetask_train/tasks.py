"""The two trainings: which samples, which network, which loss, which check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posetask_train import augment, losses
from posetask_train.loop import Recipe, train
from posetask_train.nets import Detector, Pose
from posetask_train.sizes import DETECTOR_SIZE, POSE_SIZE

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


def detector(cache: Path, held: Path, recipe: Recipe, out: Path) -> nn.Module:
    """Train the detector; the averaged model."""
    frames = np.load(cache / "frames.npy", mmap_mode="r")
    boxes = np.load(cache / "boxes.npy")
    corners, strides = losses.grid()

    def make(rows: np.ndarray[Any, Any], rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
        images = np.empty((len(rows), *DETECTOR_SIZE, 3), np.uint8)
        truths = []
        for n, row in enumerate(rows):
            images[n], truth = augment.frame(rng, np.array(frames[row]), boxes[row])
            truths.append(torch.from_numpy(truth))
        return torch.from_numpy(images).permute(0, 3, 1, 2).float(), truths

    def loss(raw: Tensor, truths: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
        return losses.detector_loss(raw, truths, corners, strides)

    held_frames, held_boxes = np.load(held / "frames.npy", mmap_mode="r"), np.load(held / "boxes.npy")

    def check(model: nn.Module) -> dict[str, float]:
        """Recall at 0.5 IoU of well visible people, and the share of confident boxes that are right."""
        found = wanted = right = given = 0
        for begin in range(0, len(held_frames), 32):
            x = torch.from_numpy(np.array(held_frames[begin : begin + 32])).permute(0, 3, 1, 2).float()
            with torch.inference_mode():
                raw = model(x.to(next(model.parameters()).device)).float().cpu()
            decoded = losses.decode(raw, corners, strides)
            xyxy = torch.cat(
                [decoded[..., :2] - decoded[..., 2:] / 2, decoded[..., :2] + decoded[..., 2:] / 2], -1
            )
            for n in range(len(raw)):
                score = raw[n, :, 4] * raw[n, :, 5]
                keep = suppress(xyxy[n], score, 0.4, 0.6)
                truth = torch.from_numpy(held_boxes[begin + n])
                truth = truth[truth[:, 4] >= 0]
                iou = losses.overlaps(truth[:, None, :4], xyxy[n][keep][None])
                clear = truth[:, 4] >= 0.7
                wanted += int(clear.sum())
                given += len(keep)
                if len(truth) and len(keep):
                    found += int((iou.max(1).values[clear] > 0.5).sum())
                    right += int((iou.max(0).values > 0.5).sum())
        return {"recall": found / max(1, wanted), "precision": right / max(1, given)}

    torch.manual_seed(recipe.seed)
    return train("detector", Detector(), recipe, len(frames), make, loss, check, out)


def suppress(boxes: Tensor, scores: Tensor, least: float, overlap: float) -> Tensor:
    """Greedy non-maximum suppression; indices, best first."""
    order = scores.argsort(descending=True)
    order = order[scores[order] > least]
    keep: list[int] = []
    while len(order):
        best = int(order[0])
        keep.append(best)
        order = order[1:][losses.overlaps(boxes[best], boxes[order[1:]]) <= overlap]
    return torch.tensor(keep, dtype=torch.long)


def normalise(crops: np.ndarray[Any, Any]) -> Tensor:
    """``(B, H, W, 3)`` BGR uint8 to the estimator's input."""
    rgb = (crops[..., ::-1].astype(np.float32) - MEAN) / DEVIATION
    return torch.from_numpy(rgb).permute(0, 3, 1, 2)


def pose(cache: Path, held: Path, recipe: Recipe, out: Path) -> nn.Module:
    """Train the estimator; the averaged model."""
    crops = np.load(cache / "crops.npy", mmap_mode="r")
    points = np.load(cache / "points.npy")
    usable = np.nonzero((points[..., 2] > 0).sum(1) >= 4)[0]

    def make(rows: np.ndarray[Any, Any], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        images = np.empty((len(rows), *POSE_SIZE, 3), np.uint8)
        truths = np.empty((len(rows), 17, 3), np.float32)
        for n, row in enumerate(usable[rows]):
            images[n], truths[n] = augment.crop(rng, np.array(crops[row]), points[row])
        return normalise(images), torch.from_numpy(truths)

    held_crops, held_points = np.load(held / "crops.npy", mmap_mode="r"), np.load(held / "points.npy")
    held_rows = np.nonzero((held_points[..., 2] > 0).sum(1) >= 4)[0]

    def check(model: nn.Module) -> dict[str, float]:
        """Mean error in pixels of the crop, seen and hidden."""
        dy, dx = (held_crops.shape[1] - POSE_SIZE[0]) // 2, (held_crops.shape[2] - POSE_SIZE[1]) // 2
        sums: dict[str, float] = {}
        batches = 0
        for begin in range(0, len(held_rows), 64):
            rows = held_rows[begin : begin + 64]
            cut = np.array(held_crops[rows])[:, dy : dy + POSE_SIZE[0], dx : dx + POSE_SIZE[1]]
            truth = torch.from_numpy(held_points[rows] - np.array([dx, dy, 0], np.float32))
            outside = (
                (truth[..., :2] < 0).any(-1)
                | (truth[..., 0] >= POSE_SIZE[1])
                | (truth[..., 1] >= POSE_SIZE[0])
            )
            truth[..., 2][outside] = 0
            with torch.inference_mode():
                x, y = model(normalise(cut).to(next(model.parameters()).device))
                _, figures = losses.pose_loss((x.float().cpu(), y.float().cpu()), truth)
            batches += 1
            for key, number in figures.items():
                sums[key] = sums.get(key, 0.0) + number
        return {key: number / max(1, batches) for key, number in sums.items()}

    torch.manual_seed(recipe.seed)
    return train("pose", Pose(), recipe, len(usable), make, losses.pose_loss, check, out)
