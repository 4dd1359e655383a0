"""Bombs are refused before they go off: measured in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, resource, sys, time
from pathlib import Path
from posetask.errors import TooManyPixels
from posetask.media.decode import VideoReader
from posetask.media.probe import probe

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

probe(Path(sys.argv[1]))
found = {}
for name in sys.argv[2:]:
    before, start = peak(), time.perf_counter()
    for read in (probe, VideoReader):
        try:
            read(Path(name))
        except TooManyPixels as error:
            found[name] = [error.code, peak() - before, time.perf_counter() - start]
print(json.dumps(found))
"""

PICTURE = 8192 * 8192 * 1.5 / 2**20  # MiB of one decoded picture


@pytest.mark.parametrize("names", [("bomb.mp4", "bomb.ts"), ("lying.mp4",)])
def test_a_bomb_costs_neither_memory_nor_time(corpus, names):
    paths = [str(corpus(name)) for name in names]
    assert all(corpus(name).stat().st_size < 400_000 for name in names)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(corpus("h264.mp4")), *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    assert list(found) == paths
    for code, memory, seconds in found.values():
        assert code == "TOO_MANY_PIXELS"
        # A header that lies is found out by the decoder, which has set up its tables by then.
        assert memory < (PICTURE / 2 if names == ("lying.mp4",) else 12)
        assert seconds < 5


def test_many_tracks_are_counted_without_opening_them(corpus, tmp_path):
    """100,000 tracks in an MP4: refused from the box headers."""
    track = (8).to_bytes(4, "big") + b"trak"
    moov = track * 100_000
    path = tmp_path / "tracks.mp4"
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + (8 + len(moov)).to_bytes(4, "big") + b"moov" + moov)
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from posetask.media.probe import probe\n"
            "from posetask.errors import PoseTaskError\nstart = time.perf_counter()\n"
            "try: probe(Path(sys.argv[1]))\n"
            "except PoseTaskError as error: print(error.code, time.perf_counter() - start)",
            str(path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    code, seconds = ran.stdout.split()
    assert code == "TOO_MANY_STREAMS"
    assert float(seconds) < 1
