"""Clips for benchmarks: a real one, looped to any length; its packets are repeated, never encoded again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av


def loop(source: Path, target: Path, frames: int, speed: Fraction = Fraction(1)) -> Path:
    """Write ``frames`` frames of ``source``, over and over, to ``target``, ``speed`` times as fast.

    Kept if it is there. Each turn starts with the clip's first key frame; the last turn may be cut
    short, in decoding order.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part.mp4")
    with av.open(str(source)) as container, av.open(str(temporary), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        times = [(int(packet.pts or 0), int(packet.dts or 0)) for packet in packets]
        step = int(packets[0].duration or 1)
        for i in range(frames):
            packet, (pts, dts) = packets[i % len(packets)], times[i % len(packets)]
            shift = i // len(packets) * len(packets) * step
            packet.stream, packet.pts, packet.dts = copy, pts + shift, dts + shift
            packet.time_base = stream.time_base / speed
            out.mux(packet)
    temporary.rename(target)
    return target
