"""``posetask-train``: from a seed to the two ONNX files, their log and their card."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from posetask_train import data, export, tasks
from posetask_train.loop import Recipe

DETECTOR = Recipe(epochs=10, batch=32, rate=2e-3)
POSE = Recipe(epochs=11, batch=32, rate=3e-3, warm=150)


RECIPES = {"detector": (DETECTOR, tasks.detector), "pose": (POSE, tasks.pose)}


def _train(
    name: str, cache: Path, held: Path, seed: int, epochs: int | None, out: Path, threads: int
) -> None:
    torch.set_num_threads(threads)
    recipe, run = RECIPES[name]
    run(cache, held, replace(recipe, seed=seed, epochs=epochs or recipe.epochs), out)


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
    chosen = [name for name in RECIPES if args.only in (None, name)]
    # One thread a network wastes no time in barriers: side by side they finish sooner than in a row.
    together = len(chosen) > 1 and args.threads > 1
    threads = max(1, args.threads // len(chosen)) if together else args.threads
    jobs = [
        multiprocessing.get_context("spawn").Process(
            target=_train,
            args=(name, args.cache, held, args.seed, args.epochs, args.out, threads),
            name=f"train-{name}",
        )
        for name in chosen
    ]
    for job in jobs:
        job.start()
        if not together:
            job.join()
    for job in jobs:
        job.join()
    if failed := [job.name for job in jobs if job.exitcode]:
        sys.exit(
            f"{', '.join(failed)} failed: see its traceback above; the same command goes on where it stopped"
        )
    if args.only in (None, "export"):
        export.pair(args.out)


if __name__ == "__main__":
    main()
