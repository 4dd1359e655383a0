"""The embedded pipeline against what ONNX Runtime alone could do, and against rtmlib, in one run.

Five measurements take turns, round by round, on the same clip and the same weights:

ours           ``posetask.run`` to an annotated MP4 and all data files
ceiling        the very tensors that ours feeds, on as many single-thread sessions as cores, nothing else
ceiling+media  the same, with the clip decoded and the MP4 encoded beside it
rtmlib         its own loop: detection, pose, drawing, writing; in an environment of its own

Ratios are of medians. 1.0 of a ceiling would mean that everything but inference is free.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from _clips import loop
from _report import CACHE, median, shared_data, table, write

import posetask
from posetask.media.decode import VideoReader
from posetask.media.segments import SegmentWriter
from posetask.models.rtmpose import RtmposeEstimator
from posetask.models.session import SessionPool
from posetask.models.store import resolve_detector, resolve_pose
from posetask.models.yolox import YoloxDetector
from posetask.telemetry import available_cores

RTMLIB = "rtmlib==0.0.16"
Job = tuple[int, np.ndarray]


def record(clip: Path, detector: Path, pose: Path) -> list[Job]:
    """The tensors of a whole run, in order: (0, detector input) and (1, pose input)."""
    jobs: list[Job] = []
    finder = YoloxDetector(resolve_detector(str(detector)), device="cpu", sessions=1)
    estimator = RtmposeEstimator(resolve_pose(str(pose)), device="cpu", sessions=1)
    real = SessionPool.run

    def spy(pool: SessionPool, tensor: np.ndarray) -> list[np.ndarray]:
        jobs.append((int(pool.sha256 == estimator.info.sha256), tensor.copy()))
        return real(pool, tensor)

    SessionPool.run = spy  # type: ignore[method-assign]
    with VideoReader(clip) as reader:
        for frame in reader:
            [(boxes, scores)] = finder.detect([frame.image])
            boxes = boxes[scores >= 0.3]
            if len(boxes):
                estimator.estimate([frame.image], [boxes])
    SessionPool.run = real  # type: ignore[method-assign]
    finder.close()
    estimator.close()
    return jobs


def session(path: Path) -> ort.InferenceSession:
    """A single-thread session, as the pipeline's."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ceiling(jobs: list[Job], detector: Path, pose: Path, clip: Path | None) -> float:
    """Seconds for all tensors on all cores; with ``clip``, it is decoded and encoded meanwhile."""
    work: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    for job in jobs:
        work.put(job)
    cores = available_cores()
    pairs = [(session(detector), session(pose)) for _ in range(cores)]

    def infer(sessions: tuple[ort.InferenceSession, ort.InferenceSession]) -> None:
        while (job := work.get()) is not None:
            which, tensor = job
            one = sessions[which]
            one.run(None, {one.get_inputs()[0].name: tensor})

    def media(path: Path, folder: Path) -> None:
        with VideoReader(path) as reader:
            writer = SegmentWriter(folder, reader.info)
            for frame in reader:
                writer.write(frame.image, frame.pts, frame.duration)
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        threads = [threading.Thread(target=infer, args=(pair,)) for pair in pairs]
        if clip is not None:
            threads.append(threading.Thread(target=media, args=(clip, Path(folder) / "hls")))
        for _ in pairs:
            work.put(None)
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start


def ours(clip: Path, detector: Path, pose: Path) -> tuple[float, posetask.Summary, float]:
    """Seconds, summary and peak RSS (MiB) of the real command, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "posetask",
            "run",
            str(clip),
            "-o",
            f"{folder}/out.mp4",
            "--json",
            "--detector",
            str(detector),
            "--pose",
            str(pose),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        summary = posetask.Summary.model_validate_json(done.stdout)
        return summary.seconds, summary, summary.peak_rss_mib or 0.0


def rtmlib_python(install: bool) -> Path | None:
    """The interpreter of rtmlib's own environment."""
    python = CACHE / "rtmlib" / "bin" / "python"
    if not python.exists() and install:
        subprocess.run([sys.executable, "-m", "venv", str(CACHE / "rtmlib")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", RTMLIB, "onnxruntime"], check=True)
    return python if python.exists() else None


def rtmlib(python: Path, clip: Path, detector: Path, pose: Path) -> dict[str, float]:
    """Figures of rtmlib's loop."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).with_name("_rtmlib_loop.py")
        done = subprocess.run(
            [str(python), str(script), str(clip), f"{folder}/out.mp4", str(detector), str(pose)],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--no-rtmlib", action="store_true", help="leave rtmlib out (it is installed from the index)"
    )
    args = parser.parse_args()
    data = shared_data()
    clip = loop(data / "videos" / "mmpose_demo.mp4", CACHE / f"mmpose_{args.frames}.mp4", args.frames)
    detector, pose = data / "models" / "yolox_nano.onnx", data / "models" / "tinypose_256x192_simcc.onnx"
    jobs = record(clip, detector, pose)
    posed = sum(len(tensor) for which, tensor in jobs if which) / args.frames
    python = None if args.no_rtmlib else rtmlib_python(install=True)

    times: dict[str, list[float]] = {"ours": [], "ceiling": [], "media": [], "rtmlib": []}
    peak, last, peer = 0.0, None, {}
    for i in range(args.rounds):
        seconds, last, rss = ours(clip, detector, pose)
        times["ours"].append(seconds)
        peak = max(peak, rss)
        times["ceiling"].append(ceiling(jobs, detector, pose, None))
        times["media"].append(ceiling(jobs, detector, pose, clip))
        if python is not None:
            peer = rtmlib(python, clip, detector, pose)
            times["rtmlib"].append(peer["seconds"])
        print(f"round {i + 1}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in times.items() if v), flush=True)
    assert last is not None
    mid = {name: median(values) for name, values in times.items() if values}
    figures: dict[str, object] = {
        "ratio_ceiling": round(mid["ceiling"] / mid["ours"], 3),
        "ratio_ceiling_media": round(mid["media"] / mid["ours"], 3),
        "ratio_rtmlib": round(mid["rtmlib"] / mid["ours"], 3) if "rtmlib" in mid else None,
        "fps": round(args.frames / mid["ours"], 2),
        "people_per_frame": round(posed, 2),
        "tracked_per_frame": last.people_per_frame,
        "peak_rss_mib": round(peak, 1),
        "seconds": {name: [round(v, 3) for v in values] for name, values in times.items()},
        "busy": {name: round(v, 3) for name, v in last.busy.items()},
        "rtmlib_people_per_frame": peer.get("people_per_frame"),
    }
    table(
        f"embedded, {args.frames} frames, {posed:.1f} people posed a frame, {args.rounds} rounds",
        [
            ("ours", f"{mid['ours']:.2f} s", f"{figures['fps']} fps, peak {peak:.0f} MiB"),
            ("of the ceiling", f"{figures['ratio_ceiling']}", "wanted >= 0.85"),
            ("of the ceiling with media", f"{figures['ratio_ceiling_media']}", "wanted >= 0.92"),
            ("times rtmlib", f"{figures['ratio_rtmlib']}", "wanted >= 1.8"),
        ],
    )
    print("  where our time goes (thread seconds):")
    for step, seconds in last.busy.items():
        if not step.endswith(".total"):
            print(f"    {step:<22} {seconds:7.2f}")
    write("embedded", figures)


if __name__ == "__main__":
    main()
