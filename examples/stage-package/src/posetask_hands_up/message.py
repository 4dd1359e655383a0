"""What the stage says of a frame, and its bytes on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Self

from posetask.messages import FrameHeader
from posetask.messages.envelope import register_message


@register_message
@dataclass(frozen=True)
class HandsUp:
    """Who holds how many hands up in a frame: ``hands`` is by the tracker's id; people without stand at 0.

    Processes that lack this package hand the bytes on unchanged.
    """

    wire_schema: ClassVar[str] = "com.example.hands-up"
    wire_version: ClassVar[int] = 1

    header: FrameHeader
    hands: dict[int, int]

    def to_wire(self) -> bytes:
        """Everything but the header, as JSON."""
        return json.dumps(self.hands).encode()

    @classmethod
    def from_wire(cls, header: FrameHeader, version: int, payload: bytes) -> Self:
        """The inverse of :meth:`to_wire`."""
        if version != cls.wire_version:
            raise ValueError(f"version {version} is newer than this package")
        return cls(header, {int(person): int(count) for person, count in json.loads(payload).items()})
