"""A browser plays what we write, to the end: the MP4, and the segments while there is no MP4 yet."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from posetask.media.decode import VideoReader
from posetask.media.encode import EncoderSettings
from posetask.media.manifest import INIT
from posetask.media.remux import remux
from posetask.media.segments import SegmentWriter
from posetask.messages import SourceInfo

pytestmark = pytest.mark.browser

Watch = Callable[[Path, str], dict[str, Any]]

COLOURS = {"left": (40, 60, 200), "right": (180, 120, 30)}  # BGR

MP4_PAGE = """<!doctype html><video muted></video><script>
const video = document.querySelector("video");
const report = (body) => fetch("/report", {method: "POST", body: JSON.stringify(body)});
const pixel = (x, y) => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
};
video.onerror = () => report({error: video.error.code + " " + video.error.message});
video.onended = () => report({
  ended: video.ended, time: video.currentTime, duration: video.duration,
  width: video.videoWidth, height: video.videoHeight,
  frames: video.getVideoPlaybackQuality().totalVideoFrames,
  audio: video.webkitAudioDecodedByteCount,
  left: pixel(video.videoWidth / 4, video.videoHeight / 2),
  right: pixel(video.videoWidth * 3 / 4, video.videoHeight / 2),
});
video.defaultPlaybackRate = video.playbackRate = RATE;
SOURCE
video.play().catch((error) => report({error: String(error)}));
</script>"""

FILE = 'video.src = "out.mp4";'

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


def page(source: str, rate: int = 1) -> str:
    """The page that plays ``source``, ``rate`` times as fast."""
    return MP4_PAGE.replace("SOURCE", source).replace("RATE", str(rate))


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
    tmp_path: Path, watch: Watch, width: int, height: int, time_base: Fraction, step: int
) -> None:
    folder = tmp_path / "www"
    record(folder, width, height, time_base, [i * step for i in range(40)])
    sound(tmp_path / "tone.mkv", 40 * step * float(time_base))
    assert (
        remux(folder, folder / "out.mp4", audio_from=tmp_path / "tone.mkv").audio == "transcoded opus to aac"
    )
    report = watch(folder, page(FILE))
    assert "error" not in report, report
    assert report["ended"]
    assert report["duration"] == pytest.approx(40 * step * float(time_base), abs=0.03)
    assert report["time"] == pytest.approx(report["duration"], abs=0.05)
    assert (report["width"], report["height"]) == (width + width % 2, height + height % 2)
    assert 36 <= report["frames"] <= 40  # a busy machine may skip a few
    assert report["audio"] > 1000
    for side, (blue, green, red) in COLOURS.items():
        assert np.abs(np.subtract(report[side], (red, green, blue))).max() <= 6, side


def test_chromium_plays_the_segments_of_an_uneven_stream(tmp_path: Path, watch: Watch) -> None:
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


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "seconds", "rate"),
    [
        ("mmpose_demo.mp4", 1.0, 1),
        ("store-aisle-detection_480x270.mp4", 67 / 15, 2),
        ("one-by-one-person-detection.mp4", 139.4, 16),
    ],
)
def test_chromium_plays_a_real_clip_to_the_end(
    tmp_path: Path, watch: Watch, shared_data: Path, name: str, seconds: float, rate: int
) -> None:
    folder = tmp_path / "www"
    reader = VideoReader(shared_data / "videos" / name)
    writer = SegmentWriter(folder, reader.info, EncoderSettings(preset="ultrafast"))
    for frame in reader:
        writer.write(frame.image, frame.pts, frame.duration)
    writer.close()
    remux(folder, folder / "out.mp4")
    report = watch(folder, page(FILE, rate))
    assert "error" not in report, report
    assert report["ended"]
    assert report["time"] == pytest.approx(seconds, abs=0.1)
    assert report["duration"] == pytest.approx(seconds, abs=0.01)
