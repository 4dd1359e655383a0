"""A browser plays what we write, to the end: the MP4, and the segments while there is no MP4 yet."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from posetask.media.encodersettings import EncoderSettings
from posetask.media.manifest import INIT
from posetask.media.remux import remux
from posetask.media.segments import SegmentWriter
from posetask.messages import SourceInfo

pytestmark = pytest.mark.browser

Watch = Callable[[Path, str], dict[str, Any]]
Page = Callable[..., str]

COLOURS = {"left": (40, 60, 200), "right": (180, 120, 30)}  # BGR

# What hls.js does: the same files through Media Source Extensions, as the playlist names them.
SEGMENTS = """
const source = new MediaSource();
video.src = URL.createObjectURL(source);
source.onsourceopen = async () => {
  try {
    const list = await (await fetch("stream.m3u8")).text();
    const names = [list.match(/URI="([^"]+)"/)[1], ...list.split("\\n").filter((l) => l && l[0] != "#")];
    const buffer = source.addSourceBuffer('video/mp4; codecs="CODEC"');
    for (const name of names) {
      buffer.appendBuffer(await (await fetch(name)).arrayBuffer());
      await new Promise((done) => buffer.onupdateend = done);
    }
    source.endOfStream();
  } catch (error) { report({error: String(error)}); }
};"""


def record(folder: Path, width: int, height: int, time_base: Fraction, pts: list[int]) -> None:
    """A still of two colours with a bar that moves, as segments and as ``out.mp4``."""
    info = SourceInfo("in.mp4", "mov", "h264", "yuv420p", width, height, time_base, 25.0)
    writer = SegmentWriter(folder, info, EncoderSettings(threads=1, segment_seconds=0.5))
    for index, tick in enumerate(pts):
        image = np.empty((height, width, 3), np.uint8)
        image[:, : width // 2], image[:, width // 2 :] = COLOURS["left"], COLOURS["right"]
        image[: height // 8, : 1 + index * width // len(pts)] = 255
        writer.write(image, tick, pts[1] - pts[0])
    writer.close()


def sound(path: Path, seconds: float) -> None:
    """A file with a tone in it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48000)
        stream.codec_context.layout = "stereo"
        samples = np.sin(np.arange(int(48000 * seconds)) * 0.05).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=48000)
        for part in resampler.resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("width", "height", "time_base", "step"),
    [
        (640, 360, Fraction(1, 12800), 512),
        (321, 241, Fraction(1001, 30000), 1),
        (1280, 720, Fraction(1, 1000), 40),
    ],
)
def test_chromium_plays_the_mp4_to_the_end_in_the_right_colours(
    tmp_path: Path, watch: Watch, page: Page, width: int, height: int, time_base: Fraction, step: int
) -> None:
    folder = tmp_path / "www"
    record(folder, width, height, time_base, [i * step for i in range(40)])
    sound(tmp_path / "tone.mkv", 40 * step * float(time_base))
    assert (
        remux(folder, folder / "out.mp4", audio_from=tmp_path / "tone.mkv").audio == "transcoded opus to aac"
    )
    report = watch(folder, page())
    assert "error" not in report, report
    assert report["ended"]
    assert report["duration"] == pytest.approx(40 * step * float(time_base), abs=0.03)
    assert report["time"] == pytest.approx(report["duration"], abs=0.05)
    assert (report["width"], report["height"]) == (width + width % 2, height + height % 2)
    assert 36 <= report["frames"] <= 40  # a busy machine may skip a few
    assert report["audio"] > 1000
    for side, (blue, green, red) in COLOURS.items():
        assert np.abs(np.subtract(report[side], (red, green, blue))).max() <= 6, side


def test_chromium_plays_the_segments_of_an_uneven_stream(tmp_path: Path, watch: Watch, page: Page) -> None:
    folder = tmp_path / "www"
    pts = [i * 40 + (i % 3) * 9 for i in range(40)]
    record(folder, 480, 270, Fraction(1, 1000), pts)
    init = (folder / INIT).read_bytes()
    at = init.index(b"avcC") + 5
    codec = f"avc1.{init[at : at + 3].hex()}"
    report = watch(folder, page(SEGMENTS.replace("CODEC", codec)))
    assert "error" not in report, report
    assert report["ended"]
    assert 36 <= report["frames"] <= 40  # a busy machine may skip a few
    assert report["duration"] == pytest.approx(1.6, abs=0.1)
