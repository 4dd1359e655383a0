"""Clips for benchmarks: a real one, looped to any length by decoding once and encoding again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av


def loop(source: Path, target: Path, frames: int) -> Path:
    """Write ``frames`` frames of ``source``, over and over, to ``target`` (H.264); kept if it is there."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(source)) as container:
        pictures = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
        rate = Fraction(container.streams.video[0].average_rate or 25)
    temporary = target.with_suffix(".part.mp4")
    with av.open(str(temporary), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(pictures[i % len(pictures)], format="yuv420p")
            frame.pts, frame.time_base = i, 1 / rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    temporary.rename(target)
    return target
