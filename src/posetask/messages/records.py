"""What lies on a topic: one record for every frame, and the end of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from posetask.messages.frame import FrameHeader
from posetask.messages.reports import DecodeReport


@runtime_checkable
class Message(Protocol):
    """Anything a stage may emit: it says which frame it speaks of."""

    @property
    def header(self) -> FrameHeader:
        """The frame's identity."""
        ...


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """Last record of a topic.

    Attributes:
        frames: How many records came before; completion is when the stages' counts agree.
        report: What decoding came to.
    """

    frames: int
    report: DecodeReport
