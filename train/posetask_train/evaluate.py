"""Scores a pair on worlds that it never saw: the published evaluation beside the weights.

Uses PoseTask's own detector, tracker, estimator and metrics (extras ``cpu`` and ``eval``); needs no
PyTorch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from posetask.evaluation import (
    People,
    Predictions,
    ScoreOptions,
    Truth,
    join_clips,
    load_truth,
    score,
    table,
)
from posetask.evaluation.people import mean_score
from posetask.models import resolve_detector, resolve_pose
from posetask.models.rtmpose import RtmposeEstimator
from posetask.models.yolox import YoloxDetector
from posetask.synth.spec import Difficulty, Paths, WorldSpec
from posetask.synth.truthfiles import write_coco
from posetask.synth.uri import write as uri
from posetask.synth.world import World
from posetask.tracking.bytetrack import ByteTracker

POSE_ABOVE = 0.3


def easy_worlds(frames: int) -> list[WorldSpec]:
    """Held worlds of at most six people who keep apart: the gated set."""
    return [WorldSpec(seed=9000 + k, people=3 + k % 4, frames=frames) for k in range(12)]


def crossing_worlds(frames: int) -> list[WorldSpec]:
    """The same, but people pass in front of each other."""
    return [
        spec.model_copy(update={"seed": spec.seed + 50, "paths": Paths.CROSSING})
        for spec in easy_worlds(frames)
    ]


def hard_worlds(frames: int) -> list[WorldSpec]:
    """Held worlds with crowds, small people and things in the way."""
    return [
        WorldSpec(seed=9100 + k, people=8 + 2 * k, frames=frames, difficulty=Difficulty.HARD)
        for k in range(8)
    ]


@dataclass(slots=True)
class Chain:
    """The three parts, as the pipeline has them."""

    detector: YoloxDetector
    estimator: RtmposeEstimator

    def clip(self, spec: WorldSpec) -> tuple[Truth, Predictions]:
        """Run a world through the chain."""
        tracker = ByteTracker(frame_rate=spec.frame_rate)
        truths, frames, boxes, scores, ids, points = [], [], [], [], [], []
        for i, (image, truth) in enumerate(World(spec)):
            truths.append(truth)
            xyxy, confidence = self.detector.detect([image])[0]
            keypoints = np.full((len(xyxy), 17, 3), np.nan)
            rows = np.flatnonzero(confidence >= POSE_ABOVE)
            if len(rows):
                places, heights = self.estimator.estimate([image], [xyxy[rows]])[0]
                keypoints[rows, :, :2], keypoints[rows, :, 2] = places, heights
            tracks = tracker.update(xyxy, confidence)
            identity = np.full(len(xyxy), -1)
            identity[tracks.det_index] = tracks.ids
            frames.append(np.full(len(xyxy), i))
            boxes.append(np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], 1))
            scores.append(confidence)
            ids.append(identity)
            points.append(keypoints)
        everyone = People.of(
            np.concatenate(frames),
            np.concatenate(boxes),
            scores=np.concatenate(scores),
            ids=np.concatenate(ids),
            keypoints=np.concatenate(points),
            sure=mean_score(np.concatenate(points)[:, :, 2]),
        )
        parts = {
            "boxes": everyone,
            "poses": everyone.take(everyone.has_pose).ranked_as_poses(),
            "tracks": everyone.take(everyone.has_id),
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "truth.coco.json"
            write_coco(path, spec, truths)
            return load_truth(path), Predictions(parts)  # type: ignore[arg-type]


def evaluate(
    chain: Chain, worlds: list[WorldSpec], options: ScoreOptions, console: Console
) -> dict[str, Any]:
    """Score a set of worlds together."""
    truth, predictions = join_clips([chain.clip(spec) for spec in worlds])
    scores = score(truth, predictions, options)
    console.print(table(scores))
    figures = {
        part: _rounded(getattr(scores, part).model_dump(mode="json", exclude=_LISTS))
        for part in ("detection", "pose", "tracking")
    }
    return {
        "worlds": [uri(spec) for spec in worlds],
        "options": options.model_dump(mode="json"),
        "frames": scores.frames,
        "people": scores.people,
        "ignored": scores.ignored,
        **figures,
    }


_LISTS = {"curves", "curve", "spans", "switched", "alarms"}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}


def main() -> None:
    """Score the easy and the hard set; write what came out."""
    parser = argparse.ArgumentParser(prog="posetask-train-evaluate", description=__doc__)
    parser.add_argument("--detector", default="demo")
    parser.add_argument("--pose", default="demo")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--only", choices=["easy", "crossing", "hard"])
    args = parser.parse_args()
    chain = Chain(
        YoloxDetector(resolve_detector(args.detector), sessions=1),
        RtmposeEstimator(resolve_pose(args.pose), sessions=1),
    )
    console = Console()
    infos = {"detector": chain.detector.info, "pose": chain.estimator.info}
    out: dict[str, Any] = {
        "models": {part: {"name": info.name, "sha256": info.sha256} for part, info in infos.items()}
    }
    if args.only in (None, "easy"):
        out["easy"] = evaluate(chain, easy_worlds(args.frames), ScoreOptions.easy(), console)
    if args.only in (None, "crossing"):
        out["crossing"] = evaluate(chain, crossing_worlds(args.frames), ScoreOptions.easy(), console)
    if args.only in (None, "hard"):
        out["hard"] = evaluate(chain, hard_worlds(args.frames), ScoreOptions(), console)
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
