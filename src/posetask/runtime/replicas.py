"""How many processes a stage has: which stages may have several, and what that means for the topics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from posetask.errors import InvalidParameters
from posetask.stages.base import Source, Stage
from posetask.stages.names import BYTETRACK, MODULES, RTMPOSE, YOLOX

SCALABLE = (YOLOX, RTMPOSE)
"""Those of the five stages that work every frame for itself."""
MOST = 64


def parse_replicas(text: str) -> dict[str, int]:
    """Read what ``--replicas`` says.

    Raises:
        InvalidParameters: It cannot be read, or asks for what there cannot be.

    >>> parse_replicas("yolox=2, rtmpose=3")
    {'yolox': 2, 'rtmpose': 3}
    >>> parse_replicas("")
    {}
    """
    out: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([a-z][a-z0-9-]*)\s*=\s*(\d{1,4})", part)
        if match is None:
            raise InvalidParameters(
                f"replicas: {part!r} is no STAGE=NUMBER", hint="such as yolox=2,rtmpose=2"
            )
        if match[1] in out:
            raise InvalidParameters(f"replicas: {match[1]} is given twice", hint="give each stage once")
        out[match[1]] = int(match[2])
    check_replicas(out)
    return out


def check_replicas(replicas: Mapping[str, int]) -> None:
    """Refuse what cannot be of the five stages.

    Raises:
        InvalidParameters: A stage is unknown or keeps state, or a number is out of bounds.
    """
    for name, count in replicas.items():
        if name not in MODULES:
            raise InvalidParameters(f"replicas: there is no stage {name!r}", hint=_HINT)
        if not 1 <= count <= MOST:
            raise InvalidParameters(f"replicas: {name} cannot run in {count}", hint=f"1 to {MOST}")
        if count > 1 and name not in SCALABLE:
            raise InvalidParameters(f"replicas: {name} goes from frame to frame and runs in one", hint=_HINT)


def check_stage(stage: type[Stage[Any]], count: int) -> None:
    """Refuse several processes of a stage that needs to see every frame.

    Raises:
        InvalidParameters: It is a source, keeps state, or has no output to join its parts again.
    """
    if count > 1 and (issubclass(stage, Source) or stage.replays or stage.output is None):
        raise InvalidParameters(f"stage {stage.name} goes from frame to frame and runs in one", hint=_HINT)


def partitions(topic: str, replicas: Mapping[str, int]) -> int:
    """How many partitions a topic of the five stages has (DESIGN §3).

    >>> [partitions(topic, {"rtmpose": 3}) for topic in ("raw_frames", "yolox", "rtmpose", "bytetrack")]
    [3, 3, 3, 1]
    """
    return 1 if topic == BYTETRACK else max(replicas.get(name, 1) for name in SCALABLE)


_HINT = f"only {' and '.join(SCALABLE)} take more than one"
