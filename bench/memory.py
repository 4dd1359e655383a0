"""Memory of a long run: resident size at frame 1,000 against the end, over a clip looped to 10,000 frames.

Small weights, so that ten thousand frames take minutes; what could grow (bus, tracker, exports, encoder)
does not depend on the weights.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import psutil
from _clips import loop
from _report import CACHE, shared_data, table, write

from posetask.media.inputs import resolve
from posetask.runtime.embedded import EmbeddedRun
from posetask.runtime.options import RunOptions

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--mark", type=int, default=1_000, help="frame at which the base is taken")
    parser.add_argument("--clip", default="store-aisle-detection_480x270.mp4")
    args = parser.parse_args()
    data = shared_data()
    clip = loop(data / "videos" / args.clip, CACHE / f"{Path(args.clip).stem}_{args.frames}.mp4", args.frames)
    options = RunOptions(
        detector=str(data / "models" / "yolox_nano_person_192.onnx"),
        pose=str(data / "models" / "tinypose_128x96_simcc.onnx"),
    )
    process = psutil.Process()
    base = peak = 0
    with tempfile.TemporaryDirectory() as folder:
        [source] = resolve(clip)
        run = EmbeddedRun(source, Path(folder) / "out.mp4", options)
        run.start()
        while (summary := run.wait(0.2)) is None:
            rss = process.memory_info().rss
            done, _ = run.annotated
            if done >= args.mark:
                base = base or rss
                peak = max(peak, rss)
        end = process.memory_info().rss
    growth = end / base - 1
    table(
        f"memory, {summary.frames_annotated} frames",
        [
            (f"at frame {args.mark}", f"{base / MIB:.0f} MiB", ""),
            ("at the end", f"{end / MIB:.0f} MiB", f"{growth:+.1%}, wanted <= +5 %"),
            ("peak after the mark", f"{peak / MIB:.0f} MiB", ""),
            ("speed", f"{summary.fps:.1f} fps", ""),
        ],
    )
    write(
        "memory",
        {
            "rss_mark_mib": round(base / MIB, 1),
            "rss_end_mib": round(end / MIB, 1),
            "rss_peak_mib": round(peak / MIB, 1),
            "growth": round(growth, 4),
            "frames": summary.frames_annotated,
            "fps": round(summary.fps, 1),
        },
    )
    sys.exit(growth > 0.05)


if __name__ == "__main__":
    main()
