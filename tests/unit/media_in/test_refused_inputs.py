"""What is refused, with which error; and proof that a refused file makes nobody open another."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import pytest

from posetask.errors import (
    FormatNotAllowed,
    InputError,
    InvalidParameters,
    NotAVideo,
    NoVideoStream,
    SourceNotFound,
    TooLong,
    TooManyPixels,
    TooManyStreams,
    UnsupportedCodec,
)
from posetask.media.container import _open
from posetask.media.decode import VideoReader
from posetask.media.inputs import open_source, resolve
from posetask.media.limits import MediaLimits
from posetask.media.probe import probe
from posetask.media.sniff import Content

REFERENCES = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n",
    "hls_http": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{host}/a.ts\n#EXT-X-ENDLIST\n",
    "hls_bom": "\ufeff\r\n#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n{file}\n",
    "hls_key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="file:{file}"\n#EXTINF:1,\n{file}\n',
    "ffconcat": "ffconcat version 1.0\nfile '{file}'\nfile 'http://{host}/b.mp4'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?>\n<!-- x -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
    "<Period><AdaptationSet><Representation><BaseURL>{file}</BaseURL></Representation></AdaptationSet>"
    "</Period></MPD>",
    "smooth": '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Url="http://{host}/"/></SmoothStreamingMedia>',
    "xspf": '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><location>{file}</location></playlist>',
    "smil": '<smil><body><video src="{file}"/></body></smil>',
    "asx": '<asx version="3.0"><entry><ref href="{file}"/></entry></asx>',
    "imf": '<?xml version="1.0"?><CompositionPlaylist><Id>{file}</Id></CompositionPlaylist>',
    "pls": "[playlist]\nFile1={file}\n",
    "link": "http://{host}/a.mp4\n",
}
TEXTS = {
    "text": ("Hello, this is no video.\n" * 20).encode(),
    "html": b"<!DOCTYPE html><html><head><title>404</title></head></html>",
    "html_plain": b"\n <html><body>not found</body></html>",
    "concat_without_header": b"file 'other.mp4'\n",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(50),
    "program": b"\x7fELF\x02\x01\x01" + bytes(60),
    "noise": bytes(i * 89 % 251 for i in range(4000)),
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_other_files_named_mp4_are_not_videos(tmp_path, kind):
    path = tmp_path / "film.mp4"
    path.write_bytes(TEXTS[kind])
    for read in (probe, VideoReader):
        with pytest.raises(NotAVideo) as error:
            read(path)
        assert error.value.code == "NOT_A_VIDEO"
        assert error.value.hint


def test_empty_and_zip_say_what_they_are(tmp_path):
    empty, archive = tmp_path / "empty.mp4", tmp_path / "archive.mp4"
    empty.write_bytes(b"")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.txt", "x")
    with pytest.raises(NotAVideo, match=r"empty \(0 bytes\)"):
        probe(empty)
    with pytest.raises(NotAVideo, match="ZIP"):
        probe(archive)


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", NoVideoStream),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00", NoVideoStream),
        (b"fLaC\x00\x00\x00\x22", NoVideoStream),
        (b"OggS\x00\x02", FormatNotAllowed),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FormatNotAllowed),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", FormatNotAllowed),
        (b"\x00\x00\x00\x01\x67\x64\x00\x1f", FormatNotAllowed),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", FormatNotAllowed),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00", FormatNotAllowed),
        (b"\xff\x0a\xfa\x1f", FormatNotAllowed),
        (b"RIFF\x80\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02", FormatNotAllowed),
    ],
)
def test_media_that_is_not_read_is_named(tmp_path, head, error):
    path = tmp_path / "film.mp4"
    path.write_bytes(head + bytes(64))
    with pytest.raises(error):
        VideoReader(path)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("audio_only.m4a", NoVideoStream, "only audio"),
        ("cover_art.m4a", NoVideoStream, "still pictures"),
        ("unknown_codec.mp4", UnsupportedCodec, "'xyz9'"),
        ("encrypted.mp4", UnsupportedCodec, "encrypted"),
        ("day_long.mp4", TooLong, "86400 s"),
        ("many_streams.mkv", TooManyStreams, "at most 32"),
        ("bomb.mp4", TooManyPixels, "8192x8192"),
        ("bomb.ts", TooManyPixels, "8192x8192"),
        ("lying.mp4", TooManyPixels, "8192x8192"),
    ],
)
def test_the_corpus_is_refused_with_its_documented_error(corpus, name, error, words):
    for read in (probe, VideoReader):
        with pytest.raises(error, match=words) as raised:
            read(corpus(name))
        assert raised.value.hint
        assert raised.value.exit_code == 20


def test_a_header_that_lies_about_the_size_does_not_help(corpus):
    limits = MediaLimits(max_pixels=64 * 64)
    with pytest.raises(TooManyPixels, match="whatever it says"):
        VideoReader(corpus("lying.webm"), limits=limits)
    with pytest.raises(TooManyPixels, match="160x128"):  # within the decoder's slack, and still refused
        VideoReader(corpus("h264.mp4"), limits=MediaLimits(max_pixels=160 * 128 - 1))


def test_a_picture_that_grows_over_the_limit_ends_the_reading(corpus):
    reader = VideoReader(corpus("resized.webm"), limits=MediaLimits(max_pixels=160 * 128), threads=1)
    with pytest.raises(TooManyPixels, match="320x256"):
        list(reader)
    assert reader.report.frames_decoded == 48


def test_sizes_at_the_limits():
    limits = MediaLimits()
    limits.check_size("x", 8192, 4320)
    limits.check_size("x", 4320, 8192)
    for width, height in ((8192, 8192), (8193, 4320), (16384, 16), (16, 16384)):
        with pytest.raises(TooManyPixels):
            limits.check_size("x", width, height)
    limits.check_seconds("x", None)
    limits.check_seconds("x", 43200)
    with pytest.raises(TooLong):
        limits.check_seconds("x", 43200.5)
    limits.check_streams("x", 32)
    with pytest.raises(TooManyStreams):
        limits.check_streams("x", 33)


@pytest.mark.parametrize(
    "options",
    [
        {"max_pixels": 0},
        {"max_side": -1},
        {"max_seconds": 0.0},
        {"max_seconds": float("nan")},
        {"max_streams": 0},
        {"demuxers": ("mov", "hls")},
        {"protocols": ("file", "http")},
        {"images": ("svg",)},
    ],
)
def test_limits_have_limits(options):
    with pytest.raises(InvalidParameters):
        MediaLimits(**options)


def test_formats_can_be_narrowed(corpus):
    with pytest.raises(FormatNotAllowed, match="not allowed here"):
        VideoReader(corpus("h264.mkv"), limits=MediaLimits(demuxers=("mov",)))


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(SourceNotFound):
        VideoReader(tmp_path / "missing.mp4")
    with pytest.raises(SourceNotFound):
        VideoReader(Path("nul\0byte.mp4"))
    with pytest.raises(InputError, match="folder"):
        VideoReader(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="pipe"):
        VideoReader(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="device"):
        VideoReader(Path("/dev/zero"))


# --- no foreign file is read, no connection is made ---

_LIBC = ctypes.CDLL(None, use_errno=True)
_OPEN_OR_READ = 0x20 | 0x1  # IN_OPEN | IN_ACCESS


@contextmanager
def watched(path: Path) -> Iterator[list[int]]:
    """Count the times that anyone in any process opens or reads ``path``, with the kernel's inotify."""
    handle = _LIBC.inotify_init1(os.O_NONBLOCK)
    assert handle >= 0
    events: list[int] = []
    try:
        assert _LIBC.inotify_add_watch(handle, os.fsencode(path), _OPEN_OR_READ) >= 0
        yield events
        with suppress(BlockingIOError):
            data = os.read(handle, 1 << 16)
            while data:
                _, mask, _, length = struct.unpack("=iIII", data[:16])
                events.append(mask)
                data = data[16 + length :]
    finally:
        os.close(handle)


@pytest.fixture
def canary(corpus, tmp_path) -> Path:
    folder = tmp_path / "another tenant"
    folder.mkdir()
    path = folder / "secret.ts"
    path.write_bytes(corpus("h264.ts").read_bytes())
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def connected(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_the_canaries_sing(canary, listener, tmp_path):
    """Without our guard a playlist does make FFmpeg open the file and call the host."""
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(REFERENCES["hls"].format(file=canary, host="", port=0))
    with watched(canary) as events, suppress(av.FFmpegError), av.open(str(playlist)) as container:
        next(container.demux(), None)
    assert events
    host, port = listener.getsockname()
    socket.create_connection((host, port)).close()
    assert connected(listener)


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts", ".png"])
@pytest.mark.parametrize("kind", REFERENCES)
def test_playlists_are_refused_and_open_nothing(tmp_path, canary, listener, kind, suffix):
    host, port = listener.getsockname()
    path = tmp_path / f"film{suffix}"
    path.write_text(REFERENCES[kind].format(file=canary, host=f"{host}:{port}", port=port))
    with watched(canary) as events:
        for read in (probe, VideoReader, lambda p: [open_source(source) for source in resolve(p)]):
            with pytest.raises(FormatNotAllowed, match="never opened") as error:
                read(path)
            assert error.value.code == "FORMAT_NOT_ALLOWED"
    assert events == []
    assert not connected(listener)


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("demuxer", ["mov", "matroska", "mpegts", "avi", "gif"])
def test_ffmpeg_itself_opens_nothing_even_where_we_err(tmp_path, canary, listener, kind, demuxer):
    host, port = listener.getsockname()
    path = tmp_path / "film.mp4"
    path.write_text(REFERENCES[kind].format(file=canary, host=f"{host}:{port}", port=port))
    with watched(canary) as events, suppress(InputError):
        _open(path, Content("video", "a video", demuxer), MediaLimits()).close()
    assert events == []
    assert not connected(listener)


def external(data: bytes, target: Path) -> bytes:
    """A QuickTime film whose track's data reference is an alias of another file (``alis``, absolute path)."""
    name = os.fsencode(target)
    record = bytes(10) + b"\x04disk".ljust(28, b"\0") + bytes(12)
    record += bytes([len(b"secret.ts")]) + b"secret.ts".ljust(63, b"\0") + bytes(16)
    record += struct.pack(">HH", 0, 0) + bytes(16)
    record += struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    at = data.find(b"url \x00\x00\x00\x01") - 4
    grown = len(entry) - 12
    changed = bytearray(data[:at] + entry + data[at + 12 :])
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        size = changed.rfind(box, 0, at + 5) - 4
        changed[size : size + 4] = struct.pack(">I", struct.unpack(">I", changed[size : size + 4])[0] + grown)
    return bytes(changed)


def test_a_film_whose_pictures_are_in_another_file_is_refused(corpus, canary, tmp_path):
    path = tmp_path / "film.mov"
    path.write_bytes(external(corpus("moov_last.mp4").read_bytes(), canary))
    with watched(canary) as events, pytest.raises(FormatNotAllowed, match="another file"):
        VideoReader(path)
    assert events == []
    # And FFmpeg, asked directly with our options, does not follow it either.
    with (
        watched(canary) as events,
        suppress(InputError, av.FFmpegError),
        _open(path, Content("video", "a video", "mov"), MediaLimits()) as container,
    ):
        list(container.demux())
    assert events == []
    # While with its own option it would: the alias is a good one.
    with watched(canary) as events, suppress(av.FFmpegError):
        loose = {"enable_drefs": "1", "use_absolute_path": "1"}
        av.open(str(path), container_options=loose).close()
    assert events


def test_attachments_of_a_matroska_are_streams_that_nobody_reads(corpus, tmp_path):
    path = tmp_path / "attached.mkv"
    with av.open(str(corpus("h264.mkv"))) as source, av.open(str(path), "w") as out:
        video = source.streams.video[0]
        stream = out.add_stream_from_template(video)
        out.add_attachment("font.ttf", "application/x-truetype-font", b"\0\1\0\0" * 100)
        for packet in source.demux(video):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with VideoReader(path, threads=1) as reader:
        assert len(list(reader)) == 48
    assert not reader.report.damaged
