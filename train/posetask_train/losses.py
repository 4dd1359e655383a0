"""What the networks are asked for: YOLOX's losses with SimOTA, and SimCC's with soft labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from posetask_train.sizes import DETECTOR_SIZE, POSE_SIZE, SPLIT, STRIDES


def grid() -> tuple[Tensor, Tensor]:
    """Cell corners ``(A, 2)`` in cells, and strides ``(A,)``, in the order of the detector's output."""
    corners, strides = [], []
    for s in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(DETECTOR_SIZE[0] // s), torch.arange(DETECTOR_SIZE[1] // s), indexing="ij"
        )
        corners.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((corners[-1].shape[0],), s))
    return torch.cat(corners).float(), torch.cat(strides).float()


def decode(raw: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """Boxes ``(..., A, 4)`` as centre and size, from the raw output."""
    xy = (raw[..., :2] + corners) * strides[:, None]
    wh = raw[..., 2:4].clamp(max=6).exp() * strides[:, None]
    return torch.cat([xy, wh], -1)


def _corners(cxcywh: Tensor) -> Tensor:
    return torch.cat([cxcywh[..., :2] - cxcywh[..., 2:] / 2, cxcywh[..., :2] + cxcywh[..., 2:] / 2], -1)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """IoU ``(..., )`` of boxes xyxy that broadcast against each other."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    return inter / area.clamp(min=1e-6)


@torch.no_grad()
def assign(
    boxes: Tensor, raw: Tensor, decoded: Tensor, corners: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor]:
    """SimOTA for one picture.

    Args:
        boxes: ``(G, 4)`` xyxy.
        raw: ``(A, 6)`` logits.
        decoded: ``(A, 4)`` xyxy.
        corners: Of :func:`grid`.
        strides: Of :func:`grid`.

    Returns:
        For each anchor the index of its box or -1, and the IoU with it.
    """
    centres = (corners + 0.5) * strides[:, None]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres[None] > boxes[:, None, :2]) & (centres[None] < boxes[:, None, 2:])).all(-1)
    near = ((centres[None] - middle[:, None]).abs() < 2.5 * strides[None, :, None]).all(-1)
    candidate = (inside | near).any(0)
    which = candidate.nonzero()[:, 0]
    matched = torch.full((len(raw),), -1, dtype=torch.long)
    quality = torch.zeros(len(raw))
    if not len(which):
        return matched, quality
    iou = overlaps(boxes[:, None], decoded[which][None])
    score = (raw[which, 4].sigmoid() * raw[which, 5].sigmoid()).sqrt().clamp(1e-6, 1 - 1e-6)
    cost = -score.log()[None] + 3 * -(iou + 1e-8).log() + 1e5 * ~(inside & near)[:, which]
    k = iou.topk(min(10, iou.shape[1]), 1).values.sum(1).int().clamp(min=1)
    take = torch.zeros_like(cost, dtype=torch.bool)
    for g in range(len(boxes)):
        take[g, cost[g].topk(min(int(k[g]), cost.shape[1]), largest=False).indices] = True
    contested = take.sum(0) > 1
    if contested.any():
        best = cost[:, contested].argmin(0)
        take[:, contested] = False
        take[best, contested.nonzero()[:, 0]] = True
    chosen = take.any(0)
    owner = take.float().argmax(0)
    matched[which[chosen]] = owner[chosen]
    quality[which[chosen]] = iou[owner[chosen], chosen.nonzero()[:, 0]]
    return matched, quality


def detector_loss(
    raw: Tensor, truths: list[Tensor], corners: Tensor, strides: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """YOLOX's loss.

    Args:
        raw: ``(B, A, 6)`` logits.
        truths: For each picture ``(G, 5)`` xyxy and visibility. Below 0.3 a person is neither wanted nor
            forbidden: cells in the box have no say.
        corners: Of :func:`grid`.
        strides: Of :func:`grid`.
    """
    decoded = _corners(decode(raw, corners, strides))
    centres = (corners + 0.5) * strides[:, None]
    want_obj = torch.zeros(raw.shape[:2])
    weight = torch.ones(raw.shape[:2])
    rows, cells, targets, qualities = [], [], [], []
    for b, truth in enumerate(truths):
        sure, vague = truth[truth[:, 4] >= 0.3, :4], truth[truth[:, 4] < 0.3, :4]
        if len(vague):
            within = (centres[None] > vague[:, None, :2]) & (centres[None] < vague[:, None, 2:])
            weight[b, within.all(-1).any(0)] = 0
        if not len(sure):
            continue
        matched, quality = assign(sure, raw[b].detach(), decoded[b].detach(), corners, strides)
        positive = (matched >= 0).nonzero()[:, 0]
        rows.append(torch.full_like(positive, b))
        cells.append(positive)
        targets.append(sure[matched[positive]])
        qualities.append(quality[positive])
    count = max(1, sum(len(c) for c in cells))
    if cells:
        row, cell, target = torch.cat(rows), torch.cat(cells), torch.cat(targets)
        want_obj[row, cell] = 1
        weight[row, cell] = 1
        box, out = decoded[row, cell], raw[row, cell]
        iou = overlaps(box, target)
        # generalised IoU pulls boxes that do not overlap yet
        hull = torch.maximum(box[:, 2:], target[:, 2:]) - torch.minimum(box[:, :2], target[:, :2])
        union = (box[:, 2:] - box[:, :2]).prod(-1) + (target[:, 2:] - target[:, :2]).prod(-1)
        union = union - iou * union / (1 + iou)
        giou = iou - 1 + union / hull.prod(-1).clamp(min=1e-6)
        loss_box = 5 * (1 - giou).sum()
        size = (target[:, 2:] - target[:, :2]).clamp(min=1)
        s = strides[cell][:, None]
        wanted = torch.cat([(target[:, :2] + target[:, 2:]) / 2 / s - corners[cell], (size / s).log()], -1)
        loss_l1 = F.l1_loss(out[:, :4], wanted, reduction="sum")
        loss_cls = F.binary_cross_entropy_with_logits(out[:, 5], torch.cat(qualities), reduction="sum")
        mean_iou = float(iou.detach().mean())
    else:
        loss_box = loss_l1 = loss_cls = raw.sum() * 0
        mean_iou = 0.0
    loss_obj = (F.binary_cross_entropy_with_logits(raw[..., 4], want_obj, reduction="none") * weight).sum()
    total = (loss_box + loss_l1 + loss_cls + loss_obj) / count
    return total, {"loss": float(total.detach()), "obj": float(loss_obj.detach()) / count, "iou": mean_iou}


_SIGMA = (3.46, 4.0)  # bins; RTMPose's (4.9, 5.66) at 256x192, halved inputs with the same share of blur
_BETA = 10.0
# OKS forgives an eye's error a tenth as much as a hip's, and a wrist is the hardest to find.
_WORTH = torch.tensor([2.0, 2.0, 2.0, 1.6, 1.6, 1, 1, 1.2, 1.2, 1.5, 1.5, 1, 1, 1, 1, 1, 1])


def _map_loss(maps: Tensor, points: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of each map with a blob where its keypoint is: it teaches the backbone early."""
    maps = maps.float()
    rows, columns = maps.shape[-2:]
    step = POSE_SIZE[0] / rows
    x = (torch.arange(columns) + 0.5) * step
    y = (torch.arange(rows) + 0.5) * step
    near_x = torch.exp(-((x - points[..., 0, None]) ** 2) / (2 * (0.5 * step) ** 2))
    near_y = torch.exp(-((y - points[..., 1, None]) ** 2) / (2 * (0.5 * step) ** 2))
    goal = (near_y[..., :, None] * near_x[..., None, :]).flatten(2)
    goal = goal / goal.sum(-1, keepdim=True).clamp(min=1e-6)
    entropy = -(goal * F.log_softmax(maps.flatten(2), -1)).sum(-1)
    return (entropy * weight).sum() / weight.sum().clamp(min=1)


def pose_loss(outputs: tuple[Tensor, ...], points: Tensor) -> tuple[Tensor, dict[str, float]]:
    """SimCC's loss: divergence from a Gaussian over the bins, and its height.

    The divergence alone leaves a constant free; the squared distance pins it, so that a maximum reads as
    a score near 1 for a keypoint that is plain to see and near 0 for one outside the picture.

    Args:
        outputs: SimCC ``(B, 17, 192)`` and ``(B, 17, 256)``, and in training the maps ``(B, 17, 16, 12)``.
        points: ``(B, 17, 3)`` x, y in the crop's pixels, and v.
    """
    v = points[..., 2]
    weight = torch.where(v == 2, 1.0, torch.where(v == 1, 0.9, 0.0)) * _WORTH
    total = torch.zeros(())
    error = []
    for axis in (0, 1):
        out = outputs[axis].float()
        bins = torch.arange(out.shape[-1], dtype=torch.float32)
        at = points[..., axis] * SPLIT
        label = torch.exp(-((bins - at[..., None]) ** 2) / (2 * _SIGMA[axis] ** 2)) * (v > 0)[..., None]
        goal = F.softmax(label * _BETA, -1)
        divergence = (goal * (goal.clamp(min=1e-9).log() - F.log_softmax(out * _BETA, -1))).sum(-1)
        height = ((out - label) ** 2).sum(-1)
        total = total + (divergence * weight).sum() / weight.sum().clamp(min=1) + 0.05 * height.mean()
        error.append((out.detach().argmax(-1) - at) / SPLIT)
    if len(outputs) > 2:
        total = total + 0.5 * _map_loss(outputs[2], points, weight)
    distance = torch.hypot(*error)
    seen = v == 2
    return total, {
        "loss": float(total.detach()),
        "px": float(distance[seen].mean()) if seen.any() else 0.0,
        "px_hidden": float(distance[v == 1].mean()) if (v == 1).any() else 0.0,
    }
