"""A frame's identity as Kafka headers: readable with any Kafka tool, and the value stays a plain JPEG."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from posetask.messages.frame import FrameHeader

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_RATIO = re.compile(r"([0-9]{1,19})/([0-9]{1,19})")


def frame_headers(header: FrameHeader) -> list[tuple[str, bytes]]:
    """Text in ASCII but for the run's id, which is UTF-8.

    >>> h = FrameHeader(7, 3584, Fraction(1, 12800), 640, 360, run="demo-1f2e3d4c")
    >>> for name, value in frame_headers(h)[:4]:
    ...     print(name, value.decode())
    run demo-1f2e3d4c
    frame_index 7
    pts 3584
    time_base 1/12800
    """
    fields = {
        "run": header.run,
        "frame_index": str(header.index),
        "pts": str(header.pts),
        "time_base": f"{header.time_base.numerator}/{header.time_base.denominator}",
        "width": str(header.width),
        "height": str(header.height),
        "duration": str(header.duration),
        "frame_rate": repr(float(header.frame_rate)),  # the shortest text that reads back as the same double
        "analysed": "1" if header.analysed else "0",
        "dropped_before": str(header.dropped_before),
    }
    return [(name, value.encode()) for name, value in fields.items()]


def parse_frame_headers(fields: Mapping[str, str]) -> FrameHeader:
    """The inverse.

    Raises:
        ValueError: A header is missing, or is not what it must be; names it.
    """
    return FrameHeader(
        run=fields.get("run", ""),
        index=_integer(fields, "frame_index", 0),
        pts=_integer(fields, "pts"),
        time_base=_ratio(fields, "time_base"),
        width=_integer(fields, "width", 1),
        height=_integer(fields, "height", 1),
        duration=_integer(fields, "duration", 0),
        frame_rate=_number(fields, "frame_rate"),
        analysed=_flag(fields, "analysed"),
        dropped_before=_integer(fields, "dropped_before", 0),
    )


def _text(fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise ValueError(f"header {name} is missing")
    return fields[name]


def _integer(fields: Mapping[str, str], name: str, least: int | None = None) -> int:
    text = _text(fields, name)
    if not _INTEGER.fullmatch(text) or (least is not None and int(text) < least):
        raise ValueError(f"header {name} is {text[:40]!r}")
    return int(text)


def _ratio(fields: Mapping[str, str], name: str) -> Fraction:
    found = _RATIO.fullmatch(_text(fields, name))
    if not found or not int(found[1]) or not int(found[2]):
        raise ValueError(f"header {name} is {fields[name][:40]!r}")
    return Fraction(int(found[1]), int(found[2]))


def _number(fields: Mapping[str, str], name: str) -> float:
    text = _text(fields, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"header {name} is {text[:40]!r}")
    return value


def _flag(fields: Mapping[str, str], name: str) -> bool:
    text = _text(fields, name)
    if text not in {"0", "1"}:
        raise ValueError(f"header {name} is {text[:40]!r}")
    return text == "1"
