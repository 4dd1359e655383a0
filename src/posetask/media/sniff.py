"""What a file is, by its first bytes: the name it bears proves nothing.

FFmpeg's own probing would do, but it also knows playlists, concat lists and session descriptions, which
make it open other files and hosts. So the content is named here first, by signatures from the formats'
specifications, and FFmpeg is then told which one demuxer to use.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posetask.errors import FormatNotAllowed, InputError, NotAVideo, NoVideoStream, SourceNotFound

HEAD = 8192
"""Bytes that are looked at."""

Kind = Literal["video", "image", "reference", "unsupported", "sound", "other", "empty"]


@dataclass(frozen=True, slots=True)
class Content:
    """What the bytes are.

    Attributes:
        kind: ``video`` and ``image`` are read; ``reference`` names other files or hosts; ``unsupported`` is
            media that is not read; ``sound`` has no pictures; ``other`` is no media.
        name: In words, with its article.
        format: FFmpeg's demuxer for a video, the image format for an image, else empty.
    """

    kind: Kind
    name: str
    format: str = ""


_EMPTY = Content("empty", "empty (0 bytes)")
_BINARY = Content("other", "no format that is known here")
_TEXT = Content("other", "a text file")

_MOV_BOXES = frozenset(b"ftyp moov mdat free skip wide pnot sidx styp moof emsg uuid".split())
_STILL_BRANDS = {
    b"heic": "an HEIC image",
    b"heix": "an HEIC image",
    b"heim": "an HEIC image",
    b"heis": "an HEIC image",
    b"hevc": "an HEIC image sequence",
    b"mif1": "an HEIF image",
    b"msf1": "an HEIF image sequence",
    b"avif": "an AVIF image",
    b"avis": "an AVIF image sequence",
    b"crx ": "a Canon raw image",
}
_RIFF = {
    b"AVI ": Content("video", "an AVI video", "avi"),
    b"AVIX": Content("video", "an AVI video", "avi"),
    b"WEBP": Content("image", "a WebP image", "webp"),
    b"WAVE": Content("sound", "a WAV sound file"),
}
_SIGNATURES: tuple[tuple[bytes, Content], ...] = (
    (b"\x1a\x45\xdf\xa3", Content("video", "a Matroska or WebM video", "matroska")),
    (b"FLV\x01", Content("video", "a Flash video", "flv")),
    (b"GIF8", Content("video", "a GIF", "gif")),
    (b"\x00\x00\x01\xba", Content("video", "an MPEG program stream", "mpeg")),
    (b"\xff\xd8\xff", Content("image", "a JPEG image", "jpeg")),
    (b"\x89PNG\r\n\x1a\n", Content("image", "a PNG image", "png")),
    (b"II*\x00", Content("image", "a TIFF image", "tiff")),
    (b"MM\x00*", Content("image", "a TIFF image", "tiff")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content("unsupported", "a Windows Media (ASF) file")),
    (b"OggS", Content("unsupported", "an Ogg file")),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", Content("unsupported", "an MXF file")),
    (b".RMF", Content("unsupported", "a RealMedia file")),
    (b"DKIF", Content("unsupported", "an IVF file")),
    (b"YUV4MPEG2", Content("unsupported", "a YUV4MPEG file")),
    (b"nut/multimedia container", Content("unsupported", "a NUT file")),
    (b"\x00\x00\x00\x01\x67", Content("unsupported", "a bare H.264 stream")),
    (b"\x00\x00\x00\x01\x09", Content("unsupported", "a bare H.264 stream")),
    (b"\x00\x00\x00\x01\x40\x01", Content("unsupported", "a bare HEVC stream")),
    (b"\x00\x00\x01\xb3", Content("unsupported", "a bare MPEG video stream")),
    (b"FWS", Content("unsupported", "a Flash film")),
    (b"CWS", Content("unsupported", "a Flash film")),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", Content("unsupported", "a JPEG XL image")),
    (b"\xff\x0a", Content("unsupported", "a JPEG XL image")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Content("unsupported", "a JPEG 2000 image")),
    (b"8BPS", Content("unsupported", "a Photoshop image")),
    (b"\x76\x2f\x31\x01", Content("unsupported", "an OpenEXR image")),
    (b"ID3", Content("sound", "an MP3 sound file")),
    (b"\xff\xfb", Content("sound", "an MP3 sound file")),
    (b"\xff\xf3", Content("sound", "an MP3 sound file")),
    (b"\xff\xf1", Content("sound", "an AAC sound file")),
    (b"\xff\xf9", Content("sound", "an AAC sound file")),
    (b"fLaC", Content("sound", "a FLAC sound file")),
    (b"FORM", Content("sound", "an AIFF sound file")),
    (b"MThd", Content("sound", "a MIDI file")),
    (b"PK\x03\x04", Content("other", "a ZIP archive")),
    (b"PK\x05\x06", Content("other", "a ZIP archive")),
    (b"\x1f\x8b", Content("other", "a gzip archive")),
    (b"7z\xbc\xaf\x27\x1c", Content("other", "a 7-Zip archive")),
    (b"Rar!\x1a\x07", Content("other", "a RAR archive")),
    (b"%PDF-", Content("other", "a PDF document")),
    (b"\x7fELF", Content("other", "a program")),
    (b"MZ", Content("other", "a program")),
)
# Texts that make a player open something else. Compared in lower case, after white space and a BOM.
_REFERENCES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"#extm3u|#ext-x-"), "an HLS or M3U playlist"),
    (re.compile(r"ffconcat\b"), "an FFmpeg concat list"),
    (re.compile(r"v=0\s+o="), "an SDP session description"),
    (re.compile(r"\[(playlist|reference|internetshortcut)\]"), "a playlist"),
    (re.compile(r"(rtsp|rtmp|https?|file|concat|udp|rtp)://\S+\s*\Z"), "a link"),
    (re.compile(r"rtsptext"), "a link"),
)
# The same by the name of the first element, where the text is XML.
_REFERENCE_ELEMENTS = {
    "mpd": "a DASH manifest",
    "smoothstreamingmedia": "a Smooth Streaming manifest",
    "smil": "a SMIL playlist",
    "asx": "an ASX playlist",
    "playlist": "an XSPF playlist",
    "compositionplaylist": "an IMF composition",
}
_ELEMENT = re.compile(r"<([a-z][a-z0-9]*)")


def identify(head: bytes) -> Content:
    r"""Name the content whose first :data:`HEAD` bytes are ``head``.

    >>> identify(b"#EXTM3U\n/etc/passwd").name
    'an HLS or M3U playlist'
    >>> identify(b"GIF89a").format
    'gif'
    """
    if not head:
        return _EMPTY
    if head[4:8] in _MOV_BOXES:
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        if brand in _STILL_BRANDS:
            return Content("unsupported", _STILL_BRANDS[brand])
        return Content("video", "an MP4 or QuickTime video", "mov")
    if head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 2:
        return Content("unsupported", "an animated WebP")
    if head[:4] in (b"RIFF", b"RIFX"):
        return _RIFF.get(head[8:12], _BINARY)
    # A bitmap says its header's size; two letters alone would catch texts.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124):
        return Content("image", "a BMP image", "bmp")
    for signature, content in _SIGNATURES:
        if head.startswith(signature):
            return content
    if _transport_stream(head):
        return Content("video", "an MPEG transport stream", "mpegts")
    return _text(head)


def sniff(path: Path) -> Content:
    """Look at the first bytes of a regular file; FFmpeg is not involved.

    Raises:
        SourceNotFound: There is nothing at ``path``.
        InputError: It is a folder or a device, or may not be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            return identify(file.read(HEAD))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from None


def check_regular(path: Path) -> os.stat_result:
    """Refuse what is not a regular file: a pipe would block, a device would never end.

    Raises:
        SourceNotFound: There is nothing at ``path``.
        InputError: It is no regular file, or may not be looked at.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise SourceNotFound(f"{path!s} does not exist", hint="check the path") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check the path") from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file (a pipe, socket or device)"
        raise InputError(f"{path} is {what}", hint="give a video or an image file")
    return status


def refusal(path: Path, content: Content) -> InputError:
    """Make the error that says why ``content`` is not read as asked."""
    text = f"{path} is {content.name}"
    match content.kind:
        case "reference":
            return FormatNotAllowed(
                f"{text}; it names other files or hosts, and those are never opened",
                hint="give the video file itself",
            )
        case "unsupported":
            return FormatNotAllowed(
                f"{text}, which is not read here", hint="convert it to MP4, PNG or JPEG first"
            )
        case "sound":
            return NoVideoStream(f"{text}, without pictures", hint="give a file with video")
        case "image":
            return NotAVideo(f"{text}, not a video", hint="open it as an image")
        case _:
            return NotAVideo(text, hint="give a video (MP4, MOV, MKV, WebM, AVI, TS) or images (JPEG, PNG)")


def _transport_stream(head: bytes) -> bool:
    # ISO/IEC 13818-1: a sync byte 0x47 every 188 bytes; M2TS puts 4 bytes before each, DVB-ASI 16 after.
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        syncs = head[offset::size]
        if len(head) >= size and syncs and syncs.count(0x47) == len(syncs):
            return True
    return False


def _text(head: bytes) -> Content:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", "replace")
    elif b"\x00" in head or len(head.translate(None, _PRINTABLE)) > len(head) // 100:
        return _BINARY
    else:
        text = head.decode("utf-8", "replace")
    text = text.lstrip("\ufeff \t\r\n").lower()
    for pattern, name in _REFERENCES:
        if pattern.match(text):
            return Content("reference", name)
    if text.startswith("<") and (element := _ELEMENT.search(text)):
        if element[1] in _REFERENCE_ELEMENTS:
            return Content("reference", _REFERENCE_ELEMENTS[element[1]])
        if element[1] == "html" or text.startswith("<!doctype html"):
            return Content("other", "an HTML page")
    return _TEXT


_PRINTABLE = bytes({*range(32, 256), 9, 10, 12, 13} - {127})
