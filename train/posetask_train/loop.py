"""The training loop that both networks share: batches, learning rate, moving average, checkpoints."""

from __future__ import annotations

import copy
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained."""

    epochs: int
    batch: int
    rate: float
    decay: float = 0.02
    warm: int = 300
    ema: float = 0.999
    seed: int = 0


class Average:
    """Exponential moving average of the weights (and of the batch norms' statistics)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay, self.steps = decay, 0
        # the tensors themselves: loading a checkpoint or a step of the optimiser changes them in place
        self._mine = [v for v in self.model.state_dict().values() if v.dtype.is_floating_point]
        self._theirs = [v for v in model.state_dict().values() if v.dtype.is_floating_point]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the newest weights; the average starts short and grows."""
        self.steps += 1
        d = self.decay * (1 - math.exp(-self.steps / 500))
        torch._foreach_lerp_(self._mine, self._theirs, 1 - d)


def prefetch(make: Callable[[int], Any], count: int, start: int = 0, ahead: int = 4) -> Iterator[Any]:
    """Batches ``start..count-1`` in order, made by a thread that runs ahead."""
    box: queue.Queue[Any] = queue.Queue(ahead)

    def work() -> None:
        try:
            for k in range(start, count):
                box.put(make(k))
        except BaseException as error:
            box.put(error)

    threading.Thread(target=work, daemon=True).start()
    for _ in range(start, count):
        item = box.get()
        if isinstance(item, BaseException):
            raise item
        yield item


def train(
    name: str,
    model: nn.Module,
    recipe: Recipe,
    samples: int,
    make: Callable[[np.ndarray[Any, Any], np.random.Generator], tuple[Tensor, Any]],
    loss: Callable[[Any, Any], tuple[Tensor, dict[str, float]]],
    check: Callable[[nn.Module], dict[str, float]],
    out: Path,
) -> nn.Module:
    """Train, resuming at the last whole epoch if there is a checkpoint.

    Args:
        name: Name of the files: ``<name>.ckpt``, ``<name>.log.jsonl``.
        model: Fresh weights.
        recipe: How.
        samples: Size of the training set.
        make: From sample numbers and chance to an input and its targets.
        loss: From the output and the targets.
        check: Figures of the averaged model on samples that are not trained on.
        out: Folder of the checkpoint and the log.

    Returns:
        The averaged model.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device, memory_format=torch.channels_last)
    norms = [p for p in model.parameters() if p.ndim < 2]
    weights = [p for p in model.parameters() if p.ndim >= 2]
    optimiser = torch.optim.AdamW(
        [{"params": weights, "weight_decay": recipe.decay}, {"params": norms, "weight_decay": 0.0}],
        lr=recipe.rate,
        fused=True,
    )
    average = Average(model, recipe.ema)
    steps = samples // recipe.batch
    total = steps * recipe.epochs
    first = 0
    checkpoint, log = out / f"{name}.ckpt", out / f"{name}.log.jsonl"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        average.steps = state["steps"]
        optimiser.load_state_dict(state["optimiser"])
        first = state["epoch"]
        print(f"{name}: goes on after epoch {first}", flush=True)

    for epoch in range(first, recipe.epochs):
        order = np.random.default_rng([recipe.seed, 5, epoch]).permutation(samples)

        def batch(k: int, order: np.ndarray[Any, Any] = order, epoch: int = epoch) -> tuple[Tensor, Any]:
            chance = np.random.default_rng([recipe.seed, 6, epoch, k])
            return make(np.sort(order[k * recipe.batch : (k + 1) * recipe.batch]), chance)

        model.train()
        sums: dict[str, float] = {}
        begin = time.monotonic()
        for k, (inputs, targets) in enumerate(prefetch(batch, steps)):
            step = epoch * steps + k
            rise = min(1.0, (step + 1) / recipe.warm)
            rate = recipe.rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            x = inputs.to(device).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16):
                y = model(x)
            value, figures = loss(_float(y), targets)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            average.update()
            for key, number in figures.items():
                sums[key] = sums.get(key, 0.0) + number
            if (k + 1) % 50 == 0:
                means = {key: round(number / (k + 1), 4) for key, number in sums.items()}
                print(f"{name} {epoch} {k + 1}/{steps} {time.monotonic() - begin:.0f}s {means}", flush=True)
        torch.save(
            {
                "model": model.state_dict(),
                "average": average.model.state_dict(),
                "steps": average.steps,
                "optimiser": optimiser.state_dict(),
                "epoch": epoch + 1,
                "recipe": asdict(recipe),
            },
            checkpoint.with_suffix(".part"),
        )
        checkpoint.with_suffix(".part").replace(checkpoint)
        line = {
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - begin, 1),
            **{f"train_{key}": round(number / steps, 4) for key, number in sums.items()},
            **{f"check_{key}": round(number, 4) for key, number in check(average.model).items()},
        }
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{name} {line}", flush=True)
    return average.model


def _float(y: Any) -> Any:
    """Losses are worked out in float32 on the CPU: they are small beside the network."""
    return tuple(v.float().cpu() for v in y) if isinstance(y, tuple) else y.float().cpu()
