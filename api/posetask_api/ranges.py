"""``Range`` of a request, before a file is opened for it. Reference: RFC 9110, section 14."""

from __future__ import annotations

import re

from posetask_api.errors import RangeNotSatisfiable

_MOST = 10
_ONE = re.compile(r"\s*(\d*)-(\d*)\s*")


def check_range(header: str | None, size: int) -> bool:
    """Whether a range is to be answered with a part.

    Args:
        header: ``Range`` as it came.
        size: Of the file, in bytes.

    Returns:
        False where there is none, or none that means anything: the whole is the answer then.

    Raises:
        RangeNotSatisfiable: None of it lies in the file.

    >>> check_range("bytes=0-99", 1000), check_range("bytes=-5", 1000), check_range("lines=1-2", 1000)
    (True, True, False)
    """
    if header is None or not header.startswith("bytes="):
        return False
    parts = [_ONE.fullmatch(part) for part in header.removeprefix("bytes=").split(",")]
    if not 1 <= len(parts) <= _MOST:
        return False
    satisfiable = False
    for part in parts:
        if part is None or not (part[1] or part[2]):
            return False
        first, last = part[1], part[2]
        if first and last and int(last) < int(first):
            return False
        satisfiable |= int(first) < size if first else int(last) > 0 and size > 0
    if not satisfiable:
        raise RangeNotSatisfiable(f"{header} lies outside of {size} bytes", hint="ask for less")
    return True


def one_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (not included) of a range that :func:`check_range` accepts; None for several.

    >>> one_range("bytes=0-99", 50), one_range("bytes=-5", 50), one_range("bytes=1-2,3-4", 50)
    ((0, 50), (45, 50), None)
    """
    found = _ONE.fullmatch((header or "").removeprefix("bytes="))
    if found is None:
        return None
    first, last = found[1], found[2]
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)
