"""The tracker against a per-object port of ByteTrack, and against its peers where they are installed.

Streams of 10, 50 and 150 moving objects, with jitter, misses, weak scores and false positives. Ours and
the port (bench/_reference_port.py, the same lapjv) take turns frame by frame in one process, after they
have been seen to give the same ids; supervision and trackers run the same streams in an environment of
their own, between the rounds. A figure is the median time of one update over all frames and rounds.

Peers: set POSETASK_BENCH_PEERS to a Python that has them, or give --install-peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _reference_port import ReferencePort
from _report import CACHE, median, table, write

from posetask.tracking import ByteTracker, ByteTrackParameters, matching

SIZES = (10, 50, 150)
FRAME_RATE = 30.0
WIDTH, HEIGHT = 1920, 1080
PEERS = ("supervision==0.30.9", "trackers==2.6.1")  # supervision's last release with its ByteTrack
Feed = list[tuple[np.ndarray, np.ndarray]]


def stream(objects: int, frames: int, seed: int) -> Feed:
    """People who walk about a 1080p picture; float32, in random order within a frame."""
    rng = np.random.default_rng([seed, objects])
    size = np.array([WIDTH, HEIGHT])
    centre = rng.uniform(0, size, (objects, 2))
    speed = rng.normal(0, 3, (objects, 2))
    height = rng.uniform(80, 220, objects)
    sides = np.stack([height * rng.uniform(0.35, 0.5, objects), height], axis=1)
    hidden = np.zeros(objects, int)
    feed = []
    for _ in range(frames):
        centre += speed
        speed += rng.normal(0, 0.2, speed.shape)
        speed[((centre < 0) & (speed < 0)) | ((centre > size) & (speed > 0))] *= -1
        hides = (rng.random(objects) < 0.005) * rng.integers(2, 40, objects)
        hidden = np.where(hidden > 0, hidden - 1, hides)
        seen = (hidden == 0) & (rng.random(objects) > 0.04)
        boxes = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)[seen]
        boxes += rng.normal(0, 0.02, boxes.shape) * np.tile(sides[seen], 2)
        corner = rng.uniform(0, size, (rng.poisson(0.1 * objects), 2))
        false = np.concatenate([corner, corner + rng.uniform(20, 150, corner.shape)], axis=1)
        scores = np.concatenate([rng.beta(9, 2, len(boxes)), rng.beta(2, 4, len(false))])
        order = rng.permutation(len(scores))
        boxes = np.concatenate([boxes, false])[order]
        feed.append((boxes.astype(np.float32), scores[order].astype(np.float32)))
    return feed


def agree(feed: Feed) -> int:
    """Count the tracks that ours and the port give, having given the same in every frame."""
    ours, port = ByteTracker(ByteTrackParameters(), FRAME_RATE), ReferencePort(FRAME_RATE)
    ids: set[int] = set()
    for frame, (xyxy, scores) in enumerate(feed, start=1):
        out, expected = ours.update(xyxy, scores), port.update(xyxy, scores)
        same = (
            out.ids.tolist() == [t.id for t in expected]
            and out.det_index.tolist() == [t.det_index for t in expected]
            and np.allclose(out.tlwh, np.array([t.tlwh for t in expected]).reshape(-1, 4), atol=1e-6)
        )
        if not same:
            sys.exit(f"ours and the port differ in frame {frame}: there is nothing to time")
        ids.update(out.ids.tolist())
    return len(ids)


def take_turns(feed: Feed) -> tuple[list[float], list[float]]:
    """Milliseconds of every update, ours and the port's; who goes first changes with the frame."""
    ours, port = ByteTracker(ByteTrackParameters(), FRAME_RATE), ReferencePort(FRAME_RATE)
    calls: tuple[Callable[..., Any], Callable[..., Any]] = (ours.update, port.update)
    times: tuple[list[float], list[float]] = ([], [])
    for frame, (xyxy, scores) in enumerate(feed):
        for which in (0, 1) if frame % 2 else (1, 0):
            began = time.perf_counter()
            calls[which](xyxy, scores)
            times[which].append((time.perf_counter() - began) * 1e3)
    return times


def lapjv_share(feed: Feed) -> tuple[float, float]:
    """Part of our time that is spent in lapjv, and its calls a frame; in a pass of its own."""
    real, spent = matching.lap.lapjv, []

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = real(*args, **kwargs)
        spent.append(time.perf_counter() - began)
        return result

    tracker = ByteTracker(ByteTrackParameters(), FRAME_RATE)
    matching.lap.lapjv = timed
    try:
        began = time.perf_counter()
        for xyxy, scores in feed:
            tracker.update(xyxy, scores)
        total = time.perf_counter() - began
    finally:
        matching.lap.lapjv = real
    return sum(spent) / total, len(spent) / len(feed)


def peers_python(install: bool) -> Path | None:
    """Find the interpreter that has the peers; its own environment is made where that is wanted."""
    if given := os.environ.get("POSETASK_BENCH_PEERS"):
        return Path(given)
    folder = CACHE / "peers"
    python = folder / "bin" / "python"
    if install and not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS], check=True)
    return python if python.exists() else None


def peers(python: Path, feed: Feed) -> dict[str, Any]:
    """Ask bench/_tracker_peers.py for each peer's version, milliseconds of every update and tracks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.npz"
        counts = [len(scores) for _, scores in feed]
        np.savez(
            path,
            ends=np.cumsum(counts),
            xyxy=np.concatenate([xyxy for xyxy, _ in feed]),
            score=np.concatenate([scores for _, scores in feed]),
        )
        script = Path(__file__).with_name("_tracker_peers.py")
        done = subprocess.run(
            [str(python), str(script), str(path)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"the peers failed under {python}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--install-peers", action="store_true", help="from the index, into the user's cache")
    args = parser.parse_args()
    python = peers_python(args.install_peers)

    figures: dict[str, object] = {}
    rows: list[tuple[str, str, str]] = []
    for size in SIZES:
        feed = stream(size, args.frames, args.seed)
        tracks = agree(feed)
        times: dict[str, list[float]] = {"ours": [], "port": []}
        ratios: list[float] = []
        others: dict[str, dict[str, Any]] = {}
        for _ in range(args.rounds):
            ours, port = take_turns(feed)
            times["ours"] += ours
            times["port"] += port
            ratios.append(median(port) / median(ours))
            for name, said in (peers(python, feed) if python else {}).items():
                others[name] = said
                times.setdefault(name, []).extend(said["ms"])
        mid = {name: median(values) for name, values in times.items()}
        share, calls = lapjv_share(feed)
        figures[f"ms_{size}"] = round(mid["ours"], 4)
        figures[f"ratio_port_{size}"] = round(mid["port"] / mid["ours"], 2)
        figures[f"port_ms_{size}"] = round(mid["port"], 4)
        figures[f"lapjv_share_{size}"] = round(share, 4)
        spread = f"x{min(ratios):.1f} to x{max(ratios):.1f} by round"
        remark = f"{tracks} ids; lapjv {share:.1%} of it, {calls:.2f} calls a frame"
        rows.append((f"{size} objects: ours", f"{mid['ours']:.3f} ms", remark))
        wanted = ", wanted >= x5" if size == SIZES[-1] else ""
        remark = f"x{mid['port'] / mid['ours']:.1f} ({spread}{wanted}); the same ids"
        rows.append((f"{size} objects: port", f"{mid['port']:.3f} ms", remark))
        for name, said in others.items():
            figures[f"{name}_ms_{size}"] = round(mid[name], 4)
            figures[f"ratio_{name}_{size}"] = round(mid[name] / mid["ours"], 2)
            figures[f"{name}_version"] = said["version"]
            remark = f"x{mid[name] / mid['ours']:.1f}; {said['tracks']} ids"
            rows.append((f"{size} objects: {name} {said['version']}", f"{mid[name]:.3f} ms", remark))
    table(f"tracker, median of an update, {args.frames} frames, {args.rounds} rounds", rows)
    for package in PEERS:
        if f"{package.split('==')[0]}_version" not in figures:
            print(f"  skipped: {package} (set POSETASK_BENCH_PEERS, or give --install-peers)")
    write("tracker", figures)


if __name__ == "__main__":
    main()
