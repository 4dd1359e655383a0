"""The files of a stream, read as if they were one."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any


class SegmentChain(io.RawIOBase):
    """A seekable reader over files in order, with one open at a time: a long stream is never held in memory.

    Args:
        paths: At least one; they must not change meanwhile.
    """

    def __init__(self, paths: list[Path]) -> None:
        super().__init__()
        self._paths = paths
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._position = 0
        self._number = -1
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the start of the first file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, also past the end, where reads are empty."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ends[-1]}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read at most up to the end of the current file."""
        number = bisect_right(self._ends, self._position)
        if number == len(self._paths):
            return 0
        if number != self._number or self._file is None:
            if self._file is not None:
                self._file.close()
            self._file, self._number = self._paths[number].open("rb"), number
        begin = self._ends[number - 1] if number else 0
        self._file.seek(self._position - begin)
        count = self._file.readinto(buffer)
        self._position += count
        return count

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
        super().close()
