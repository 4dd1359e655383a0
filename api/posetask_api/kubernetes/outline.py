"""As much of a stored video as it takes to look at it: its ends, and its index wherever that is."""

from __future__ import annotations

import os
from pathlib import Path

from posetask.storage.durable import storage_errors
from posetask.storage.location import Location
from posetask.storage.s3 import S3

END_BYTES = 4 * 2**20
"""Of the beginning and of the end."""
_MOST_INDEX = 40 * 2**20
_MOST_BOXES = 64


def outline(store: S3, at: Location, size: int, path: Path) -> None:
    """Write a file of the object's size with holes where nothing was fetched.

    The pictures in the holes cannot be decoded, but the first one can, and every header is there. An MP4's
    index (``moov``, ISO/IEC 14496-12) may lie anywhere: its boxes are walked to it.

    Args:
        store: Where the object is.
        at: The object.
        size: In bytes.
        path: The new file.

    Raises:
        PoseTaskError: The store is away, or there is no space.
    """
    wanted = [(0, min(size, END_BYTES)), (max(0, size - END_BYTES), size)]
    with storage_errors(path), path.open("xb") as file:
        file.truncate(size)
        for start, end in wanted:
            _copy(store, at, start, end, file.fileno(), path)
    index = _index(store, at, size)
    if index is not None:
        with storage_errors(path), path.open("r+b") as file:
            _copy(store, at, index[0], index[1], file.fileno(), path)


def _copy(store: S3, at: Location, start: int, end: int, handle: int, path: Path) -> None:
    place = start
    for piece in store.read(at, start, end):
        with storage_errors(path):
            os.pwrite(handle, piece, place)
        place += len(piece)


def _index(store: S3, at: Location, size: int) -> tuple[int, int] | None:
    place = 0
    for _ in range(_MOST_BOXES):
        if place + 16 > size:
            return None
        head = b"".join(store.read(at, place, place + 16))
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            length = size - place
        if length < 8 or not kind.isalnum():
            return None
        if kind == b"moov":
            return place, min(size, place + length, place + _MOST_INDEX)
        place += length
    return None
