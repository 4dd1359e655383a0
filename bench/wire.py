"""What the wire's JPEG changes: the embedded run on raw frames against the same run through ``jpeg:90``.

Nothing here is a gate. People of the two runs are matched by overlap, frame by frame; of the matched ones the
boxes, keypoints and scores are compared, and the ids by the pairing that most of the frames agree on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from _report import shared_data, table, write

from posetask.exports import read_poses
from posetask.messages import Tracks

CLIPS = ("mmpose_demo.mp4", "store-aisle-detection_480x270.mp4", "one-by-one-person-detection.mp4")
MATCH_IOU = 0.5
DRAWN = 0.3
"""Keypoints with a lower score in either run are guesses, and not compared."""


def run(clip: Path, models: Path, folder: Path, name: str, *more: str) -> dict[int, Tracks]:
    """Tracks by frame, of the real command."""
    target = folder / f"{name}.mp4"
    command = [sys.executable, "-m", "posetask", "run", str(clip), "-o", str(target), "--formats", "parquet"]
    weights = ["--detector", models / "yolox_nano.onnx", "--pose", models / "tinypose_256x192_simcc.onnx"]
    subprocess.run(
        [*command, "--no-video", *map(str, weights), "--json", *more], check=True, stdout=subprocess.DEVNULL
    )
    return dict(read_poses(target.with_suffix(".parquet")).frames())


def match(a: Tracks, b: Tracks) -> list[tuple[int, int]]:
    """Rows of the same people: pairs by falling overlap, each row once."""
    low = np.maximum(a.xyxy[:, None, :2], b.xyxy[None, :, :2])
    high = np.minimum(a.xyxy[:, None, 2:], b.xyxy[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(t.xyxy[:, 2:] - t.xyxy[:, :2], axis=1) for t in (a, b)]
    iou = both / (areas[0][:, None] + areas[1][None] - both)
    pairs: list[tuple[int, int]] = []
    while iou.size and iou.max() >= MATCH_IOU:
        i, j = (int(k) for k in np.unravel_index(iou.argmax(), iou.shape))
        pairs.append((i, j))
        iou[i, :] = iou[:, j] = -1
    return pairs


def compare(raw: dict[int, Tracks], coded: dict[int, Tracks]) -> dict[str, float]:
    """Figures of one clip; distances in pixels."""
    boxes, points, scores = [], [], []
    ids: Counter[tuple[int, int]] = Counter()
    for frame in sorted(raw.keys() & coded.keys()):
        a, b = raw[frame], coded[frame]
        for i, j in match(a, b):
            boxes.append(np.abs(a.xyxy[i] - b.xyxy[j]).max())
            sure = (a.keypoint_scores[i] > DRAWN) & (b.keypoint_scores[j] > DRAWN)
            points.append(np.linalg.norm(a.keypoints[i] - b.keypoints[j], axis=1)[sure])
            scores.append(abs(float(a.scores[i] - b.scores[j])))
            ids[int(a.ids[i]), int(b.ids[j])] += 1
    partner: dict[int, int] = {}
    for (mine, other), _ in ids.most_common():
        if mine not in partner and other not in partner.values():
            partner[mine] = other
    matched = sum(ids.values())
    distances = np.concatenate(points) if points else np.zeros(1)
    return {
        "people_raw": sum(map(len, raw.values())),
        "people_jpeg": sum(map(len, coded.values())),
        "matched": matched,
        "other_id": matched
        - sum(count for (mine, other), count in ids.items() if partner.get(mine) == other),
        "tracks_raw": len({int(i) for t in raw.values() for i in t.ids}),
        "tracks_jpeg": len({int(i) for t in coded.values() for i in t.ids}),
        "box_px_median": round(float(np.median(boxes)), 3),
        "box_px_p95": round(float(np.percentile(boxes, 95)), 3),
        "keypoint_px_median": round(float(np.median(distances)), 3),
        "keypoint_px_p95": round(float(np.percentile(distances, 95)), 3),
        "score_median": round(float(np.median(scores)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", default="jpeg:90")
    parser.add_argument("--clips", nargs="*", default=CLIPS)
    parser.add_argument("--max-frames", type=int, default=1_000_000, help="of each clip")
    args = parser.parse_args()
    data = shared_data()
    found: dict[str, object] = {"codec": args.codec}
    for name in args.clips:
        clip = data / "videos" / name
        with tempfile.TemporaryDirectory() as folder:
            most = ("--max-frames", str(args.max_frames))
            raw = run(clip, data / "models", Path(folder), "raw", *most)
            coded = run(clip, data / "models", Path(folder), "coded", "--wire-codec", args.codec, *most)
        found[name] = figures = compare(raw, coded)
        table(f"{args.codec} against raw frames, {name}", [(k, f"{v}", "") for k, v in figures.items()])
    write("bench-wire", found)


if __name__ == "__main__":
    main()
