"""The two networks: a YOLOX-family detector and an RTMPose-family estimator, both very small.

The detector follows YOLOX (Ge et al. 2021, arXiv:2107.08430): anchor-free, one decoupled head for the
strides 8, 16, 32, exported undecoded. The estimator follows RTMPose (Jiang et al. 2023, arXiv:2303.07399):
a convolutional backbone, one map per keypoint, a gated attention unit over the keypoints, and two
SimCC classifications (Li et al. 2022, arXiv:2107.03332).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posetask_train.sizes import KEYPOINTS, MAP_STRIDE, POSE_SIZE, SPLIT, STRIDES


def conv(cin: int, cout: int, k: int = 3, s: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, k, s, k // 2, bias=False),
        nn.BatchNorm2d(cout, momentum=0.03),
        nn.ReLU(inplace=True),
    )


class Block(nn.Module):
    """Residual bottleneck: 1x1 narrows, 3x3 widens again."""

    def __init__(self, channels: int, middle: int) -> None:
        super().__init__()
        self.narrow = conv(channels, middle, 1)
        self.widen = nn.Sequential(
            nn.Conv2d(middle, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels, momentum=0.03)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        return F.relu(x + self.widen(self.narrow(x)))


class Detector(nn.Module):
    """Input ``images`` ``[B, 3, 192, 320]`` BGR 0..255; output ``[B, 1260, 6]``: YOLOX's raw contract.

    The six are x, y (cells from the cell's corner), w, h (logarithm, in strides), objectness and class
    score (both after the sigmoid in evaluation mode, logits in training mode).
    """

    def __init__(self, neck: int = 40, head: int = 32) -> None:
        super().__init__()
        self.stem = conv(3, 16, 3, 2)
        self.s4 = nn.Sequential(conv(16, 32, 3, 2), Block(32, 12))
        self.s8 = nn.Sequential(conv(32, 64, 3, 2), Block(64, 24), Block(64, 24))
        self.s16 = nn.Sequential(conv(64, 96, 3, 2), Block(96, 48), Block(96, 48))
        self.s32 = nn.Sequential(conv(96, 128, 3, 2), Block(128, 64))
        self.pool = conv(128 * 3, 128, 1)
        self.block32 = Block(128, 64)
        self.lateral = nn.ModuleList([conv(c, neck, 1) for c in (64, 96, 128)])
        self.smooth = nn.ModuleList([conv(neck, neck), conv(neck, neck)])
        self.down = nn.ModuleList([conv(neck, neck, 3, 2), conv(neck, neck, 3, 2)])
        self.cls_branch = nn.ModuleList([conv(neck, head) for _ in STRIDES])
        self.reg_branch = nn.ModuleList([conv(neck, head) for _ in STRIDES])
        self.cls = nn.ModuleList([nn.Conv2d(head, 1, 1) for _ in STRIDES])
        self.reg = nn.ModuleList([nn.Conv2d(head, 4, 1) for _ in STRIDES])
        self.obj = nn.ModuleList([nn.Conv2d(head, 1, 1) for _ in STRIDES])
        for layer in [*self.cls, *self.obj]:
            nn.init.constant_(layer.bias, -4.6)  # a prior of one in a hundred

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.s4(self.stem(images * (1 / 64) - 2))
        c8 = self.s8(x)
        c16 = self.s16(c8)
        c32 = self.s32(c16)
        p1 = F.max_pool2d(c32, 5, 1, 2)
        p2 = F.max_pool2d(p1, 5, 1, 2)
        c32 = self.block32(self.pool(torch.cat([c32, p1, p2], 1)))
        t32 = self.lateral[2](c32)
        t16 = self.smooth[0](self.lateral[1](c16) + F.interpolate(t32, scale_factor=2.0, mode="nearest"))
        t8 = self.smooth[1](self.lateral[0](c8) + F.interpolate(t16, scale_factor=2.0, mode="nearest"))
        n16 = t16 + self.down[0](t8)
        n32 = t32 + self.down[1](n16)
        out = []
        for k, level in enumerate((t8, n16, n32)):
            c, r = self.cls_branch[k](level), self.reg_branch[k](level)
            scores = torch.cat([self.obj[k](r), self.cls[k](c)], 1)
            if not self.training:
                scores = scores.sigmoid()
            out.append(torch.cat([self.reg[k](r), scores], 1).flatten(2))
        return torch.cat(out, 2).transpose(1, 2)


class Gate(nn.Module):
    """Gated attention unit over the keypoints (Hua et al. 2022, arXiv:2202.10447), one head."""

    def __init__(self, width: int, hidden: int, key: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 2 * hidden + key)
        self.leave = nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.rand(2, key) * 0.2 + 0.9)
        self.beta = nn.Parameter(torch.zeros(2, key))
        self.hidden, self.key = hidden, key

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 17, width]`` to the same shape."""
        u, v, base = torch.split(F.silu(self.enter(self.norm(x))), [self.hidden, self.hidden, self.key], -1)
        q = base * self.gamma[0] + self.beta[0]
        k = base * self.gamma[1] + self.beta[1]
        attention = F.relu(q @ k.transpose(1, 2) / self.key**0.5).square() / KEYPOINTS
        return x + self.leave(u * (attention @ v))


class Pose(nn.Module):
    """RTMPose's contract: keypoint = argmax / 2, score from the maxima.

    Input ``[B, 3, 128, 96]`` RGB, ImageNet's mean and deviation; outputs ``simcc_x [B, 17, 192]`` and
    ``simcc_y [B, 17, 256]``.

    Unlike RTMPose, the SimCC histograms do not come from the keypoints' tokens alone: each map is also
    summed over its rows and its columns and spread over the bins. A map moves with the person, so this
    part need not learn every place anew, and a short training goes far; the tokens correct it.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        height, breadth = POSE_SIZE
        self.stem = conv(3, 24, 3, 2)
        self.s4 = nn.Sequential(conv(24, 48, 3, 2), Block(48, 20), Block(48, 20))
        self.s8 = nn.Sequential(conv(48, 80, 3, 2), Block(80, 40), Block(80, 40), Block(80, 40))
        self.s16 = nn.Sequential(conv(80, 160, 3, 2), Block(160, 80), Block(160, 80), Block(160, 80))
        self.top16 = conv(160, 64, 1)
        self.lateral8 = conv(80, 64, 1)
        self.merge8 = conv(64, 64)
        self.top8 = conv(64, 32, 1)
        self.lateral4 = conv(48, 32, 1)
        self.merge4 = conv(32, 32)
        self.maps = nn.Conv2d(32, KEYPOINTS, 3, 1, 1)
        self.cells = (height // MAP_STRIDE, breadth // MAP_STRIDE)
        tokens = self.cells[0] * self.cells[1]
        self.enter = nn.Sequential(nn.LayerNorm(tokens), nn.Linear(tokens, width, bias=False))
        self.gate = Gate(width, 2 * width, 64)
        self.x = nn.Linear(width, int(breadth * SPLIT), bias=False)
        self.y = nn.Linear(width, int(height * SPLIT), bias=False)
        self.spread_x = _spread(self.cells[1], int(breadth * SPLIT))
        self.spread_y = _spread(self.cells[0], int(height * SPLIT))
        with torch.no_grad():
            self.x.weight.mul_(0.1)
            self.y.weight.mul_(0.1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See the class; in training mode the keypoints' maps ``[B, 17, 32, 24]`` come third."""
        c4 = self.s4(self.stem(x))
        c8 = self.s8(c4)
        c16 = self.s16(c8)
        t8 = self.merge8(self.lateral8(c8) + F.interpolate(self.top16(c16), scale_factor=2.0, mode="nearest"))
        t4 = self.merge4(self.lateral4(c4) + F.interpolate(self.top8(t8), scale_factor=2.0, mode="nearest"))
        maps = self.maps(t4).float().flatten(2)
        shares = maps.softmax(-1).unflatten(-1, self.cells)
        tokens = self.gate(self.enter(maps))
        out_x = self.x(tokens) + self.spread_x(shares.sum(-2))
        out_y = self.y(tokens) + self.spread_y(shares.sum(-1))
        if self.training:
            return out_x, out_y, maps.unflatten(-1, self.cells)
        return out_x, out_y


def _spread(cells: int, bins: int) -> nn.Linear:
    """From shares of cells to bins; begins as a bell over each cell's middle."""
    layer = nn.Linear(cells, bins, bias=False)
    middle = (torch.arange(cells) + 0.5) * (bins / cells)
    with torch.no_grad():
        layer.weight.copy_(torch.exp(-((torch.arange(bins)[:, None] - middle) ** 2) / (2 * 4.0**2)) * 1.3)
    return layer


def macs(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers for these inputs."""
    total = 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += (
                out.numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
            )
        elif isinstance(layer, nn.Linear):
            total += out.numel() * layer.in_features

    hooks = [m.register_forward_hook(count) for m in model.modules()]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return total
