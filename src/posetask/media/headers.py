"""Size and orientation of a still image from its header, before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from posetask.errors import Truncated
from posetask.media.orientation import Orientation

_MOST_PARTS = 10_000
_EXIF_BYTES = 1 << 16
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header says.

    Attributes:
        width: Stored pixels.
        height: Stored pixels.
        orientation: How it is turned upright.
    """

    width: int
    height: int
    orientation: Orientation

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self.orientation.size(self.width, self.height)


def read_header(path: Path, image_format: str) -> ImageHeader:
    """Read the header of a regular file of one of :data:`posetask.media.limits.IMAGES`.

    Sources: ITU-T T.81 (JPEG), W3C PNG 3rd edition, RFC 9649 (WebP), TIFF 6.0 (also inside Exif), the
    Windows bitmap headers.

    Raises:
        Truncated: The header ends early or makes no sense.
    """
    reader = {"jpeg": _jpeg, "png": _png, "webp": _webp, "bmp": _bmp, "tiff": _tiff}[image_format]
    try:
        with path.open("rb") as file:
            width, height, tag = reader(file)
    except (struct.error, ValueError, IndexError, OverflowError):
        width, height, tag = 0, 0, 1
    if width < 1 or height < 1:
        raise Truncated(f"{path}: the header of the image is cut short or damaged", hint="fetch it again")
    return ImageHeader(width, height, Orientation.from_exif(tag))


def _jpeg(file: BinaryIO) -> tuple[int, int, int]:
    file.seek(2)
    tag = 1
    for _ in range(_MOST_PARTS):
        (marker,) = struct.unpack(">H", file.read(2))
        if marker & 0xFF == 0xFF:  # fill byte
            file.seek(-1, 1)
            continue
        if marker >> 8 != 0xFF:
            raise ValueError("no marker")
        (length,) = struct.unpack(">H", file.read(2))
        # Start of frame: C0 to CF but DHT, JPG and DAC.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
            return width, height, tag
        body = file.read(min(length - 2, _EXIF_BYTES)) if marker == 0xFFE1 else b""
        if body.startswith(b"Exif\0\0"):
            tag = _exif(body[6:])
        file.seek(length - 2 - len(body), 1)
    raise ValueError("no frame")


def _png(file: BinaryIO) -> tuple[int, int, int]:
    file.seek(8)
    size, tag = (0, 0), 1
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IHDR":
            size = struct.unpack(">II", file.read(8))
            length -= 8
        elif kind == b"eXIf":
            body = file.read(min(length, _EXIF_BYTES))
            tag = _exif(body)
            length -= len(body)
        elif kind == b"IDAT":
            break
        file.seek(length + 4, 1)
    return size[0], size[1], tag


def _webp(file: BinaryIO) -> tuple[int, int, int]:
    size, tag = (0, 0), 1
    for kind, start, length in _riff(file):
        file.seek(start)
        if kind == b"VP8X":
            head = file.read(10)
            size = (int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1)
        elif kind == b"VP8 " and not size[0]:
            width, height = struct.unpack("<6xHH", file.read(10))
            size = (width & 0x3FFF, height & 0x3FFF)
        elif kind == b"VP8L" and not size[0]:
            (bits,) = struct.unpack("<xI", file.read(5))
            size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif kind == b"EXIF":
            tag = _exif(file.read(min(length, _EXIF_BYTES)).removeprefix(b"Exif\0\0"))
    return size[0], size[1], tag


def _riff(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    for _ in range(_MOST_PARTS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        kind, length = struct.unpack("<4sI", header)
        yield kind, position + 8, length
        position += 8 + length + length % 2


def _bmp(file: BinaryIO) -> tuple[int, int, int]:
    file.seek(14)
    (length,) = struct.unpack("<I", file.read(4))
    width, height = struct.unpack("<HH" if length == 12 else "<ii", file.read(4 if length == 12 else 8))
    return width, abs(height), 1


def _tiff(file: BinaryIO) -> tuple[int, int, int]:
    tags = _directory(file)
    return tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), tags.get(_ORIENTATION, 1)


def _exif(body: bytes) -> int:
    try:
        return _directory(BytesIO(body)).get(_ORIENTATION, 1)
    except (struct.error, ValueError):
        return 1


def _directory(file: BinaryIO) -> dict[int, int]:
    """Read the first directory's tags of one SHORT or LONG value."""
    file.seek(0)
    mark = file.read(2)
    if mark not in (b"II", b"MM"):
        raise ValueError("no byte order")
    order = "<" if mark == b"II" else ">"
    file.seek(4)
    (offset,) = struct.unpack(order + "I", file.read(4))
    file.seek(offset)
    (count,) = struct.unpack(order + "H", file.read(2))
    tags = {}
    for _ in range(count):
        tag, kind, values, raw = struct.unpack(order + "HHI4s", file.read(12))
        if values == 1 and kind in (3, 4):
            tags[tag] = struct.unpack(order + ("H2x" if kind == 3 else "I"), raw)[0]
    return tags
