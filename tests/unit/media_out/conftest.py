"""Pictures that carry their own number, clips with clicks at known times, and readers for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import numpy.typing as npt
import pytest

from posetask.media.encodersettings import EncoderSettings
from posetask.media.manifest import Manifest
from posetask.media.segments import SegmentWriter
from posetask.messages import Image, SourceInfo

BITS = 10
BLOCK = 16
WIDTH, HEIGHT = BITS * BLOCK, 48


def numbered(index: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A picture whose number is written in black and white blocks along its top."""
    rng = np.random.default_rng(index)
    image = np.full((height, width, 3), 96, np.uint8)
    image[BLOCK:] = rng.integers(60, 140, (height - BLOCK, width, 1), np.uint8)
    for bit in range(BITS):
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if index >> bit & 1 else 0
    return image


def number_of(luma: npt.NDArray[np.uint8]) -> int:
    """The number that :func:`numbered` wrote, from the luma plane."""
    means = [luma[4:12, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, mean in enumerate(means) if mean > 128)


@dataclass(frozen=True)
class Shown:
    """One decoded frame: its time in seconds, and the number in its picture."""

    time: Fraction
    number: int


def shown(path: Path, **options: str) -> list[Shown]:
    """Every frame of a file (or playlist), as FFmpeg presents it."""
    out = []
    with av.open(str(path), options=options) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            luma = frame.to_ndarray(format="gray") if frame.format.name != "yuv420p" else plane(frame)
            out.append(Shown(frame.pts * frame.time_base, number_of(luma)))
    return out


def plane(frame: av.VideoFrame, number: int = 0) -> npt.NDArray[np.uint8]:
    """One plane of a yuv420p frame."""
    data = frame.planes[number]
    return np.frombuffer(data, np.uint8).reshape(data.height, data.line_size)[:, : data.width]


def source_info(
    time_base: Fraction = Fraction(1, 12800),
    rate: float = 25.0,
    width: int = WIDTH,
    height: int = HEIGHT,
    container: str = "mov,mp4,m4a,3gp,3g2,mj2",
    sample_aspect_ratio: Fraction = Fraction(1),
) -> SourceInfo:
    """What a probe would say."""
    return SourceInfo(
        uri="in.mp4",
        container=container,
        codec="h264",
        pixel_format="yuv420p",
        width=width,
        height=height,
        time_base=time_base,
        frame_rate=rate,
        sample_aspect_ratio=sample_aspect_ratio,
    )


def quick(**changes: object) -> EncoderSettings:
    """Settings that make small clips fast and give several segments."""
    return EncoderSettings.model_validate({"threads": 1, "segment_seconds": 0.4, "crf": 18} | changes)


def write_stream(
    folder: Path,
    pts: list[int],
    info: SourceInfo | None = None,
    settings: EncoderSettings | None = None,
    duration: int = 0,
    rebase: bool = False,
) -> Manifest:
    """Numbered pictures at the given times, as a finished stream."""
    writer = SegmentWriter(folder, info or source_info(), settings or quick(), rebase=rebase)
    for index, tick in enumerate(pts):
        writer.write(numbered(index), tick, duration)
    return writer.close()


@dataclass(frozen=True)
class Clip:
    """A source clip made by FFmpeg, with clicks in its sound."""

    path: Path
    info: SourceInfo
    pts: list[int]
    clicks: list[float]


ClipMaker = Callable[..., Clip]


@pytest.fixture
def make_clip(tmp_path: Path) -> ClipMaker:
    """Make a clip: 25 frames a second, and a click of 5 ms at each of ``clicks`` seconds."""

    def make(
        name: str = "clip.mp4",
        codec: str = "aac",
        *,
        seconds: float = 3.0,
        clicks: tuple[float, ...] = (0.5, 1.5, 2.5),
        rate: int = 48000,
        layout: str = "stereo",
        audio_offset: float = 0.0,
        gap: tuple[float, float] | None = None,
    ) -> Clip:
        path = tmp_path / name
        channels = av.AudioLayout(layout).nb_channels
        samples = np.zeros((channels, int(seconds * rate)), np.float32)
        noise = np.random.default_rng(1).uniform(-0.9, 0.9, rate // 200).astype(np.float32)
        for click in clicks:
            begin = round((click - audio_offset) * rate)
            if 0 <= begin < samples.shape[1] - len(noise):
                samples[:, begin : begin + len(noise)] = noise
        with av.open(str(path), "w") as container:
            pictures = "flv" if name.endswith("flv") else "mpeg4"
            video = container.add_stream(
                pictures, rate=25, width=WIDTH, height=HEIGHT, time_base=Fraction(1, 25)
            )
            video.codec_context.pix_fmt = "yuv420p"
            video.codec_context.bit_rate = 2_000_000
            audio = container.add_stream(codec, rate=rate)
            audio.codec_context.layout = layout
            audio.codec_context.time_base = Fraction(1, rate)
            container.start_encoding()
            packets = [
                *_video(video, round(seconds * 25)),
                *_audio(audio, samples, rate, layout, audio_offset, gap),
            ]
            packets.sort(key=lambda packet: packet.dts * packet.time_base)
            container.mux(packets)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            pts = [frame.pts for frame in container.decode(stream) if frame.pts is not None]
            assert stream.time_base is not None
            info = source_info(stream.time_base, 25.0, container=container.format.name)
        return Clip(path, info, pts, list(clicks))

    return make


def _video(stream: av.VideoStream, frames: int) -> Iterator[av.Packet]:
    for index in range(frames):
        frame = av.VideoFrame.from_ndarray(numbered(index), format="bgr24")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _audio(
    stream: av.AudioStream,
    samples: npt.NDArray[np.float32],
    rate: int,
    layout: str,
    offset: float,
    gap: tuple[float, float] | None,
) -> Iterator[av.Packet]:
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
    packets: list[av.Packet] = []
    for begin in range(0, samples.shape[1], 1024):
        block = np.ascontiguousarray(samples[:, begin : begin + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = begin + round(offset * rate)
        for converted in resampler.resample(frame):
            packets += stream.encode(converted)
    packets += stream.encode(None)
    for packet in packets:
        time = float(packet.pts * packet.time_base)
        if gap is None or not gap[0] <= time < gap[1]:
            yield packet


def clicks_in(path: Path) -> list[float]:
    """When the clicks begin in a file's sound, in seconds of its presentation, edit lists applied."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=stream.codec_context.sample_rate)
        found: list[float] = []
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            for mono in resampler.resample(frame):
                assert mono.pts is not None
                begin = float(mono.pts * mono.time_base)
                for at in np.flatnonzero(np.abs(mono.to_ndarray()[0]) > 0.2):
                    time = begin + at / mono.sample_rate
                    if not found or time - found[-1] > 0.1:
                        found.append(time)
        return found


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The helpers of this file, for the tests beside it."""
    return SimpleNamespace(
        BLOCK=BLOCK,
        HEIGHT=HEIGHT,
        WIDTH=WIDTH,
        clicks_in=clicks_in,
        number_of=number_of,
        numbered=numbered,
        plane=plane,
        quick=quick,
        shown=shown,
        source_info=source_info,
        write_stream=write_stream,
    )
