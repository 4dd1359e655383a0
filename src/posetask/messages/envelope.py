"""What exists only between processes: frames as JPEG, messages of unknown stages, notes about a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from posetask.messages.frame import FrameHeader
from posetask.messages.records import EndOfStream, Message

_START_OF_IMAGE = b"\xff\xd8"

Headers = Sequence[tuple[str, bytes | None]]
"""Kafka's record headers, in order."""


class WireRecord(NamedTuple):
    """A record as Kafka holds it."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame on its way: a :class:`~posetask.messages.Frame` with the JPEG for its pixels."""

    header: FrameHeader
    jpeg: bytes

    def __post_init__(self) -> None:
        if not self.jpeg.startswith(_START_OF_IMAGE):
            raise ValueError(f"{len(self.jpeg)} bytes that are no JPEG")

    @property
    def nbytes(self) -> int:
        """Bytes on the topic; what a byte-bounded window counts."""
        return len(self.jpeg)


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message whose schema this process does not know; encoding it again gives the very same payload.

    Attributes:
        schema: Reverse-domain name, for example ``com.example.brightness``.
        version: Of the schema.
        payload: The stage's own bytes.
    """

    header: FrameHeader
    schema: str
    version: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record and what the wire says about it.

    Attributes:
        record: What was sent.
        run: Id of the run.
        quarantined: A stage gave this frame up after repeated crashes, and the record is empty.
        traceparent: W3C trace context, ``""`` without one.
    """

    record: Message | EndOfStream
    run: str = ""
    quarantined: bool = False
    traceparent: str = ""


@runtime_checkable
class WireMessage(Protocol):
    """What a message class of anyone's stage offers so that it can leave the process."""

    wire_schema: ClassVar[str]
    wire_version: ClassVar[int]

    @property
    def header(self) -> FrameHeader:
        """The frame's identity; it travels beside the payload."""
        ...

    def to_wire(self) -> bytes:
        """Everything but the header."""
        ...

    @classmethod
    def from_wire(cls, header: FrameHeader, version: int, payload: bytes) -> Self:
        """The inverse; raises any exception for a payload or a version that it cannot read."""
        ...


_known: dict[str, type[Any]] = {}
W = TypeVar("W", bound=WireMessage)


def register_message(cls: type[W]) -> type[W]:
    """Class decorator: records of ``cls.wire_schema`` are decoded into ``cls`` in this process.

    Raises:
        TypeError: Another class has the schema.
    """
    known = _known.get(cls.wire_schema)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(
            f"schema {cls.wire_schema!r} belongs to {known.__module__}.{known.__qualname__} already"
        )
    _known[cls.wire_schema] = cls
    return cls


def message_class(schema: str) -> type[Any] | None:
    """The class registered for ``schema``, None if it is unknown here."""
    return _known.get(schema)
