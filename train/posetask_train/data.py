"""Renders the training set once, into memory-mapped arrays.

Training worlds use seeds from ``TRAIN_SEED`` upwards and the checkpoints' own check uses seeds from
``CHECK_SEED``; every seed below both is left for demos, tests and the published evaluation.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from posetask.synth.spec import CameraMotion, Difficulty, Paths, WorldSpec
from posetask.synth.truth import Truth
from posetask.synth.world import World
from posetask_train.sizes import DETECTOR_SIZE, POSE_SIZE

TRAIN_SEED, CHECK_SEED = 1_000_000_000, 2_000_000_000
DATA_VERSION = 1
"""Raise it whenever the renderer's people or this file change what is rendered."""

ROOM = 1.3  # a stored crop shows this much more than the network's input, to leave room for augmentation
CROP_SIZE = (round(POSE_SIZE[0] * ROOM), round(POSE_SIZE[1] * ROOM))
MAX_BOXES = 32
_SIZES = ((640, 360), (480, 270), (960, 540), (640, 480), (360, 640))
_SIZE_WEIGHTS = (0.6, 0.1, 0.15, 0.08, 0.07)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is rendered."""

    worlds: int = 3000
    frames_a_world: int = 8
    crops_a_frame: int = 3
    seed: int = 0
    version: int = DATA_VERSION

    @property
    def frames(self) -> int:
        """Frames in all."""
        return self.worlds * self.frames_a_world


def world_of(plan: Plan, k: int, first: int = TRAIN_SEED) -> tuple[WorldSpec, list[int]]:
    """World number ``k`` of a plan, and which of its frames are taken."""
    rng = np.random.default_rng([plan.seed, 77, k, first])
    width, height = _SIZES[int(rng.choice(len(_SIZES), p=_SIZE_WEIGHTS))]
    hard = rng.random() < 0.35
    spec = WorldSpec(
        seed=first + 100_000 * plan.seed + k,
        width=width,
        height=height,
        frames=100_000,
        people=int(rng.integers(4, 19) if hard else rng.integers(1, 8)),
        difficulty=Difficulty.HARD if hard else Difficulty.EASY,
        number_code=bool(rng.random() < 0.15),
        camera=CameraMotion.MOVING,
        paths=Paths.FREE if hard else Paths.CROSSING,
        min_height=None if hard else float(rng.uniform(0.14, 0.32)),
        max_height=None if hard else float(rng.uniform(0.5, 1.05)),
    )
    start = int(rng.integers(0, 200))
    return spec, [start + int(i) for i in np.cumsum(rng.integers(12, 60, plan.frames_a_world))]


def letterbox(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], float]:
    """YOLOX's preprocessing: scaled to fit, placed top left, grey 114 around; and the scale."""
    height, width = DETECTOR_SIZE
    r = min(height / image.shape[0], width / image.shape[1])
    out = np.full((height, width, 3), 114, np.uint8)
    small = cv2.resize(
        image, (int(image.shape[1] * r), int(image.shape[0] * r)), interpolation=cv2.INTER_LINEAR
    )
    out[: small.shape[0], : small.shape[1]] = small
    return out, r


def crop_matrix(box: Array, size: tuple[int, int], room: float = 1.0) -> Array:
    """``(2, 3)`` from the frame into a crop of ``size`` (height, width): box x1.25, widened to 3:4."""
    centre = (box[:2] + box[2:]) / 2
    w, h = (box[2:] - box[:2]) * 1.25
    w, h = max(w, h * 0.75) * room, max(h, w / 0.75) * room
    k = size[1] / w
    return np.array([[k, 0, size[1] / 2 - k * centre[0]], [0, k, size[0] / 2 - k * centre[1]]])


def _boxes(truth: Truth, r: float) -> npt.NDArray[np.float32]:
    """``(MAX_BOXES, 5)``: xyxy in the letterboxed frame and visibility; -1 where there is none."""
    out = np.full((MAX_BOXES, 5), -1, np.float32)
    order = np.argsort(-truth.visibility)[:MAX_BOXES]
    out[: len(order), :4] = truth.boxes[order] * r
    out[: len(order), 4] = truth.visibility[order]
    return out


def _render(job: tuple[Path, Plan, int, int]) -> int:
    folder, plan, k, first = job
    cv2.setNumThreads(1)
    spec, indices = world_of(plan, k, first)
    world = World(spec)
    rng = np.random.default_rng([plan.seed, 78, k, first])
    frames = np.load(folder / "frames.npy", mmap_mode="r+")
    boxes = np.load(folder / "boxes.npy", mmap_mode="r+")
    crops = np.load(folder / "crops.npy", mmap_mode="r+")
    points = np.load(folder / "points.npy", mmap_mode="r+")
    for n, i in enumerate(indices):
        image, truth = world.frame(i)
        row = k * plan.frames_a_world + n
        frames[row], r = letterbox(image)
        boxes[row] = _boxes(truth, r)
        # any box that a detector may give: mostly well visible people, all sizes
        good = [j for j in range(len(truth)) if truth.visibility[j] > (0.5 if rng.random() < 0.7 else 0.2)]
        for slot, j in enumerate(rng.permutation(good)[: plan.crops_a_frame]):
            matrix = crop_matrix(truth.boxes[int(j)].astype(float), CROP_SIZE, ROOM)
            place = row * plan.crops_a_frame + slot
            crops[place] = cv2.warpAffine(image, matrix, CROP_SIZE[::-1], flags=cv2.INTER_LINEAR)
            points[place, :, :2] = truth.keypoints[int(j), :, :2] @ matrix[:, :2].T + matrix[:, 2]
            points[place, :, 2] = truth.keypoints[int(j), :, 2]
    return k


def render(folder: Path, plan: Plan, workers: int, first: int = TRAIN_SEED) -> None:
    """Render a plan into a folder, unless it is there already."""
    done = folder / "plan.json"
    if done.exists() and json.loads(done.read_text()) == asdict(plan):
        print(f"data: {folder} is there", flush=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    n, m = plan.frames, plan.frames * plan.crops_a_frame
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "frames": ((n, *DETECTOR_SIZE, 3), np.uint8),
        "boxes": ((n, MAX_BOXES, 5), np.float32),
        "crops": ((m, *CROP_SIZE, 3), np.uint8),
        "points": ((m, 17, 3), np.float32),
    }
    for name, (shape, kind) in shapes.items():
        out = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape)
        if name == "points":
            out[:] = -1  # a slot that stays empty has no keypoint with v >= 0
        del out
    begin = time.monotonic()
    with mp.get_context("spawn").Pool(workers) as pool:
        jobs = ((folder, plan, k, first) for k in range(plan.worlds))
        for count, _ in enumerate(pool.imap_unordered(_render, jobs, chunksize=4), 1):
            if count % 200 == 0:
                print(f"data: {count}/{plan.worlds} worlds, {time.monotonic() - begin:.0f} s", flush=True)
    done.write_text(json.dumps(asdict(plan)))
