"""Media generated on the spot: PyAV's own encoders make every file of the corpus when a test asks for it."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder's chatter

FRAMES = 48
GOP = 16
SIZE = (160, 128)

Image = npt.NDArray[np.uint8]
CORNERS = {"tl": (200, 40, 40), "tr": (40, 180, 40), "bl": (40, 60, 200), "br": (150, 150, 150)}
_BITS = 8


def draw(number: int, width: int = SIZE[0], height: int = SIZE[1]) -> Image:
    """RGB picture whose quarters have the corners' colours, with ``number`` as black and white blocks."""
    image = np.zeros((height, width, 3), np.uint8)
    y, x = height // 2, width // 2
    image[:y, :x], image[:y, x:] = CORNERS["tl"], CORNERS["tr"]
    image[y:, :x], image[y:, x:] = CORNERS["bl"], CORNERS["br"]
    block = width // (_BITS + 2)
    for bit in range(_BITS):
        left = (bit + 1) * block
        image[y - block // 2 : y + block // 2, left : left + block] = 255 if number >> bit & 1 else 0
    # Noise that no encoder can foretell, so that every frame has bits to lose.
    noise = np.random.default_rng(number).integers(-10, 11, (height // 2, width // 2, 1), np.int16)
    noise = noise.repeat(2, axis=0).repeat(2, axis=1)
    noisy = image.astype(np.int16)
    noisy[: noise.shape[0], : noise.shape[1]] += noise
    return noisy.clip(0, 255).astype(np.uint8)


def read_number(image: Image) -> int:
    """The number that :func:`draw` put into an upright picture."""
    height, width = image.shape[:2]
    block = width // (_BITS + 2)
    row = image[height // 2].mean(axis=1)
    return sum((row[int((bit + 1.5) * block)] > 128) << bit for bit in range(_BITS))


def corners(image: Image) -> dict[str, tuple[int, int, int]]:
    """Mean RGB of the middles of the four quarters of a BGR picture."""
    height, width = image.shape[:2]
    found = {}
    for name, cy, cx in (("tl", 1, 1), ("tr", 1, 7), ("bl", 7, 1), ("br", 7, 7)):
        y, x = height * cy // 8, width * cx // 8
        b, g, r = image[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(axis=0)
        found[name] = (round(r), round(g), round(b))
    return found


def encode(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = FRAMES,
    size: tuple[int, int] = SIZE,
    pixels: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    rate: int = 25,
    time_base: Fraction | None = None,
    first: int = 0,
    setup: Callable[[av.VideoStream], None] | None = None,
    picture: Callable[[int, int, int], Image] = draw,
    audio: float = 0.0,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a video of numbered pictures; ``audio`` adds so many seconds of sound."""
    quick = {"libx264": {"preset": "veryfast", "bf": "2"}, "libx264rgb": {"preset": "ultrafast"}}
    quick["libx265"] = {"preset": "ultrafast", "x265-params": "log-level=none"}
    quick["libvpx-vp9"] = {"deadline": "realtime", "cpu-used": "8"}
    quick["libvpx"] = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "8"}
    quick["libsvtav1"] = {"preset": "12", "crf": "15"}
    with av.open(str(path), "w", format=container, options=muxer or {}) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate, options=quick.get(codec, {}) | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.gop_size = GOP
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if setup is not None:
            setup(stream)
        sound = out.add_stream("aac", rate=16000, layout="mono") if audio else None
        if sound is not None:
            for block in range(int(audio * 16000 / 1024)):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                silence.sample_rate, silence.pts = 16000, block * 1024
                out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index + first, *size), "rgb24")
            frame.pts = index if pts is None else pts[index]
            if time_base is not None:
                frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def flip_bits(data: bytes, start: int, end: int, flips: int, seed: int = 5) -> bytes:
    """The same bytes with single bits turned over at random places between two offsets."""
    damaged, dice = bytearray(data), random.Random(seed)
    for _ in range(flips):
        damaged[dice.randrange(start, end)] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def media_data(data: bytes) -> tuple[int, int]:
    """First and last offset of an MP4's samples."""
    at = data.find(b"mdat")
    return at + 4, at - 4 + int.from_bytes(data[at - 4 : at], "big")


def append_streams(target: Path, parts: Sequence[Path]) -> Path:
    """Mux the packets of several files one after the other into one stream."""
    with av.open(str(target), "w") as out:
        stream, offset = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                video = source.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                end = 0
                for packet in source.demux(video):
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        end = max(end, packet.pts + packet.duration)
                        packet.stream = stream
                        out.mux(packet)
                offset = end
    return target


_FAST = {"movflags": "faststart"}
_FRAGMENTED = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
VFR = [0, 40, 70, 200, 240, 300, 1000, 1010, 1100, 1200, 1300, 1400, 1500, 1600, 1700, 1900, 2000, 2500, 2600]


def _hdr(trc: int) -> Callable[[av.VideoStream], None]:
    def setup(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.color_trc, context.color_primaries = trc, 9
        context.colorspace, context.color_range = 9, 1

    return setup


def _aspect(stream: av.VideoStream) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(16, 11)


def _turned(degrees: int, *, hflip: bool = False) -> Callable[[av.VideoStream], None]:
    return lambda stream: stream.set_display_rotation(degrees, hflip)


def _fields(index: int, width: int, height: int) -> Image:
    """A white bar that is 4 pixels further in the odd lines, as an interlaced camera sees it."""
    image = np.zeros((height, width, 3), np.uint8)
    for parity in (0, 1):
        left = (2 * index + parity) * 4 % (width - 24)
        image[parity::2, left : left + 24] = 255
    return image


# name -> arguments of encode()
_ENCODED: dict[str, dict[str, object]] = {
    "h264.mp4": {"muxer": _FAST},
    "moov_last.mp4": {},
    "h264.mkv": {},
    "h264.ts": {"container": "mpegts"},
    "h264.avi": {},
    "h264.flv": {},
    "fragmented.mp4": {"muxer": _FRAGMENTED},
    "hevc.mp4": {"codec": "libx265", "muxer": _FAST},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx", "frames": 24},
    "av1.mp4": {"codec": "libsvtav1", "muxer": _FAST},
    "mpeg2.ts": {"codec": "mpeg2video", "container": "mpegts", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "container": "mpeg", "options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le", "frames": 6},
    "alpha.mov": {"codec": "prores_ks", "pixels": "yuva444p10le", "frames": 3},
    "animated.gif": {"codec": "gif", "pixels": "rgb8", "frames": 10},
    "ten_bit.mp4": {"pixels": "yuv420p10le", "frames": 12},
    "yuv422.mp4": {"pixels": "yuv422p", "frames": 12},
    "yuv444.mp4": {"pixels": "yuv444p", "frames": 12},
    "gbrp.mkv": {"codec": "libx264rgb", "pixels": "rgb24", "frames": 12},
    "odd.webm": {"codec": "libvpx-vp9", "size": (321, 241), "frames": 6},
    "odd.mp4": {"pixels": "yuv444p", "size": (321, 241), "frames": 6},
    "one_frame.mp4": {"frames": 1},
    "one_frame.ts": {"frames": 1, "container": "mpegts"},
    "late.mp4": {"pts": range(100, 100 + FRAMES)},
    "vfr.mp4": {"pts": VFR, "frames": len(VFR), "time_base": Fraction(1, 1000)},
    "vfr.mkv": {"pts": VFR, "frames": len(VFR), "time_base": Fraction(1, 1000)},
    "anamorphic.mp4": {"setup": _aspect, "frames": 3},
    "turned_90.mp4": {"setup": _turned(90), "frames": 6},
    "turned_180.mp4": {"setup": _turned(180), "frames": 6},
    "turned_270.mp4": {"setup": _turned(270), "frames": 6},
    "turned_90.mkv": {"setup": _turned(90), "frames": 6},
    "mirrored.mp4": {"setup": _turned(0, hflip=True), "frames": 6},
    "mirrored_90.mp4": {"setup": _turned(90, hflip=True), "frames": 6},
    "pq.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "setup": _hdr(16), "frames": 4},
    "hlg.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "setup": _hdr(18), "frames": 4},
    "interlaced.mp4": {"picture": _fields, "options": {"x264-params": "interlaced=1"}, "frames": 20},
    "with_audio.mp4": {"audio": 1.92},
    "longer_audio.mkv": {"audio": 4.0},
    "longer_audio.flv": {"audio": 4.0},
    "encrypted.mp4": {
        "muxer": {
            "encryption_scheme": "cenc-aes-ctr",
            "encryption_key": "0123456789abcdef" * 2,
            "encryption_kid": "fedcba9876543210" * 2,
        }
    },
    "large.webm": {"codec": "libvpx-vp9", "size": (320, 256), "first": 100},
}


class Corpus:
    """Files by name; each is made once a session, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            if name in _ENCODED:
                encode(path, **_ENCODED[name])  # type: ignore[arg-type]
            else:
                self._derive(name, path)
        return path

    def names(self) -> list[str]:
        """Of the intact, ordinary videos."""
        return [name for name in _ENCODED if name != "encrypted.mp4"]

    def cut(self, name: str, share: float) -> Path:
        """A file without its end."""
        source = self(name)
        path = self.folder / f"cut_{round(share * 100)}_{name}"
        path.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
        return path

    def flipped(self, name: str, flips: int = 120, start: float = 0.3, end: float = 0.9) -> Path:
        """A file with flipped bits among its samples."""
        data = self(name).read_bytes()
        first, last = media_data(data) if name.endswith((".mp4", ".mov")) else (0, len(data))
        span = last - first
        path = self.folder / f"flipped_{name}"
        path.write_bytes(flip_bits(data, first + int(span * start), first + int(span * end), flips))
        return path

    def _derive(self, name: str, path: Path) -> None:
        match name:
            case "edit_list.mp4":  # shows the second half of what it holds
                data = bytearray(self("moov_last.mp4").read_bytes())
                at = data.find(b"elst") + 12
                duration, start = struct.unpack(">Ii", data[at : at + 8])
                data[at : at + 8] = struct.pack(">Ii", duration - 960, start + 24 * 512)
                path.write_bytes(data)
            case "between_key_frames.ts":  # begins in the middle of a group of pictures
                data = self("h264.ts").read_bytes()
                tables = data[: 3 * 188]
                middle = len(data) // 188 // 6 * 188
                path.write_bytes(tables + data[middle:])
            case "appended.ts":  # the second recording's clock starts again
                path.write_bytes(self("h264.ts").read_bytes() * 2)
            case "resized.webm":
                append_streams(path, [self("vp9.webm"), self("large.webm")])
            case "null_tail.avi":  # ends with five empty chunks: "show the last frame again"
                encode(path, "mjpeg", pixels="yuvj420p", frames=11, pts=[*range(10), 15])
                data = bytearray(path.read_bytes())
                at, entry = data.rfind(b"00dc", 0, data.find(b"idx1")), data.rfind(b"00dc")
                (size,) = struct.unpack("<I", data[at + 4 : at + 8])
                junk = struct.pack("<I4sI", 0, b"JUNK", size + size % 2 - 8)
                data[at + 4 : at + 16] = junk
                data[entry + 12 : entry + 16] = bytes(4)
                path.write_bytes(data)
            case "unknown_codec.mp4":
                path.write_bytes(self("moov_last.mp4").read_bytes().replace(b"avc1", b"xyz9"))
            case "audio_only.m4a":
                self._sound(path)
            case "cover_art.m4a":
                self._sound(path, cover=True)
            case "live.webm":  # no duration, as a browser's recorder writes it
                data = self("vp9.webm").read_bytes()
                at = data.find(b"\x44\x89\x88")
                data = _void(data, at, 11)
                path.write_bytes(data.replace(b"DURATION", b"DURATIOX"))
            case "bomb.mp4":  # 8192x8192 in a few kilobytes
                with av.open(str(path), "w") as out:
                    stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
                    stream.width, stream.height, stream.pix_fmt = 8192, 8192, "yuv420p"
                    frame = av.VideoFrame(8192, 8192, "yuv420p")
                    for plane in frame.planes:
                        plane.update(bytes(plane.buffer_size))
                    frame.pts = 0
                    out.mux(stream.encode(frame))
                    out.mux(stream.encode(None))
            case "bomb.ts":
                append_streams(path, [self("bomb.mp4")])
            case "lying.mp4":  # says 64x64, is 8192x8192
                path.write_bytes(_claim_size(self("bomb.mp4").read_bytes(), 64, 64))
            case "lying.webm":
                data = bytearray(self("large.webm").read_bytes())
                for mark in (b"\xb0\x82\x01\x40", b"\xba\x82\x01\x00"):
                    at = data.find(mark)
                    data[at + 2 : at + 4] = b"\x00\x40"
                path.write_bytes(data)
            case "day_long.mp4":  # declares 24 h
                encode(path, frames=2, pts=[0, 24 * 3600 * 25])
            case "many_streams.mkv":
                with av.open(str(path), "w") as out:
                    streams = [out.add_stream("mpeg4", rate=25) for _ in range(40)]
                    for stream in streams:
                        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
                    for stream in streams:
                        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
                        frame.pts = 0
                        out.mux(stream.encode(frame))
                        out.mux(stream.encode(None))
            case _:
                raise LookupError(name)

    def _sound(self, path: Path, *, cover: bool = False) -> None:
        with av.open(str(path), "w", format="mp4") as out:
            sound = out.add_stream("aac", rate=16000, layout="mono")
            art = out.add_stream("mjpeg", rate=1) if cover else None
            if art is not None:
                art.width, art.height, art.pix_fmt = 64, 64, "yuvj420p"
                art.disposition = av.stream.Disposition.attached_pic
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
                frame.pts = 0
            for block in range(16):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                silence.sample_rate, silence.pts = 16000, block * 1024
                out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
            if art is not None:
                out.mux(art.encode(frame))
                out.mux(art.encode(None))


def _void(data: bytes, at: int, size: int) -> bytes:
    """Matroska with one element turned into a Void element of the same size."""
    return data[:at] + b"\xec" + bytes([0x80 | size - 2]) + bytes(size - 2) + data[at + size :]


def _claim_size(data: bytes, width: int, height: int) -> bytes:
    """An MP4 whose sample entry says another size than its pictures have."""
    changed = bytearray(data)
    at = changed.find(b"avc1", changed.find(b"stsd"))
    changed[at + 28 : at + 32] = struct.pack(">HH", width, height)
    return bytes(changed)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


class Tools:
    """The functions above, for test modules that cannot import a conftest."""

    FRAMES, SIZE, VFR, CORNERS = FRAMES, SIZE, VFR, CORNERS
    draw = staticmethod(draw)
    read_number = staticmethod(read_number)
    corners = staticmethod(corners)
    encode = staticmethod(encode)
    flip_bits = staticmethod(flip_bits)
    media_data = staticmethod(media_data)


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools
