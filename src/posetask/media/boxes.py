"""The few boxes of an MP4 or QuickTime file that must be known before FFmpeg sees it (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MOST_BOXES = 200_000
_CONTAINERS = frozenset((b"mdia", b"minf", b"dinf", b"stbl"))


@dataclass(frozen=True, slots=True)
class Boxes:
    """What the box structure says.

    Attributes:
        has_index: A ``moov`` box is there and complete; without it nothing can be decoded.
        tracks: How many ``trak`` boxes it holds.
        external: A track's samples are declared to lie in another file or at a URL (``dref``).
        formats: The first sample entry's type of each track, for example ``avc1``.
    """

    has_index: bool = False
    tracks: int = 0
    external: bool = False
    formats: tuple[str, ...] = ()


def inspect(path: Path, most_tracks: int) -> Boxes:
    """Walk the boxes by their headers; sample data and tables are skipped over, not read.

    Args:
        path: A regular file.
        most_tracks: The walk stops counting behind this many tracks.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for kind, start, end in _children(file, 0, size):
            if kind == b"moov" and end <= size:
                return _tracks(file, start, end, most_tracks)
    return Boxes()


def _tracks(file: BinaryIO, start: int, end: int, most: int) -> Boxes:
    external = False
    formats: list[str] = []
    for kind, inner, inner_end in _children(file, start, end):
        if kind == b"trak":
            formats.append("")
            for leaf, body, body_end in _leaves(file, inner, min(inner_end, end)):
                # 8.7.2: an entry whose lowest flag is not set names another place.
                if leaf == b"dref":
                    for _, entry, _ in _children(file, body + 8, body_end):
                        external = external or not _read(file, entry, 4)[3] & 1
                elif leaf == b"stsd":
                    formats[-1] = _read(file, body + 12, 4).decode("latin-1")
            if len(formats) > most:
                break
    return Boxes(True, len(formats), external, tuple(formats))


def _leaves(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
    for kind, inner, inner_end in _children(file, start, end):
        if kind in _CONTAINERS and depth < len(_CONTAINERS):
            yield from _leaves(file, inner, min(inner_end, end), depth + 1)
        else:
            yield kind, inner, min(inner_end, end)


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size).ljust(size, b"\0")


def _children(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Boxes between two offsets: type, first byte of the content, first byte behind it."""
    position = start
    for _ in range(_MOST_BOXES):
        if position + 8 > end:
            return
        header = _read(file, position, 16)
        size, kind = struct.unpack(">I4s", header[:8])
        body = position + 8
        if size == 1:
            size, body = struct.unpack(">Q", header[8:])[0], position + 16
        elif size == 0:
            size = end - position
        if size < body - position:
            return
        yield kind, body, position + size
        position += size
