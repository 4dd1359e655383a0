"""``posetask-train``: from a seed to the two ONNX files, their log and their card."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from posetask_train import data, export, tasks
from posetask_train.loop import Recipe

DETECTOR = Recipe(epochs=10, batch=32, rate=2e-3)
POSE = Recipe(epochs=11, batch=32, rate=3e-3, warm=150)


def main() -> None:
    """Render the data, train what is asked for, export."""
    parser = argparse.ArgumentParser(prog="posetask-train", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the ONNX files, logs and checkpoints"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/posetask-train-cache"))  # noqa: S108
    parser.add_argument("--only", choices=["data", "detector", "pose", "export"])
    parser.add_argument("--worlds", type=int, default=data.Plan.__dataclass_fields__["worlds"].default)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    plan = data.Plan(worlds=args.worlds, seed=args.seed)
    held_plan = data.Plan(worlds=60, frames_a_world=5, seed=args.seed)
    held = args.cache / "held"
    if args.only != "export":
        data.render(args.cache, plan, args.threads)
        data.render(held, held_plan, args.threads, first=data.CHECK_SEED)
    for name, recipe, run in (("detector", DETECTOR, tasks.detector), ("pose", POSE, tasks.pose)):
        if args.only in (None, name):
            run(
                args.cache,
                held,
                replace(recipe, seed=args.seed, epochs=args.epochs or recipe.epochs),
                args.out,
            )
    if args.only in (None, "export"):
        export.pair(args.out)


if __name__ == "__main__":
    main()
