"""The wire: any record to a Kafka key, value and headers, and back. Pure functions; the schema is in proto/.

Every record carries the headers ``schema`` and ``schema_version``, so that a reader which is too old
refuses it by name; ``frame_index`` (but for the end of the stream) and ``run``; ``quarantined`` and
``traceparent`` where they say something.
"""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from posetask.errors import MalformedRecord, StageFailed
from posetask.messages import _proto
from posetask.messages._frameheaders import frame_headers, parse_frame_headers
from posetask.messages._pb import records_pb2 as pb
from posetask.messages.envelope import (
    EncodedFrame,
    Envelope,
    ForeignMessage,
    Headers,
    WireMessage,
    WireRecord,
)
from posetask.messages.records import EndOfStream, Message
from posetask.messages.results import Detections, Poses, Tracks

SCHEMA_VERSION = 1
FRAME = "posetask.v1.Frame"
END = "posetask.v1.EndOfStream"
END_KEY = b"end"


@dataclass(frozen=True, slots=True)
class _Schema:
    """How one class of message becomes protobuf."""

    name: str
    cls: type[Any]
    pb_cls: type[Any]
    to_pb: Callable[..., Any]
    from_pb: Callable[[Any], Any]


_SCHEMAS = (
    _Schema(
        "posetask.v1.Detections",
        Detections,
        pb.Detections,
        _proto.detections_to_pb,
        _proto.detections_from_pb,
    ),
    _Schema("posetask.v1.Poses", Poses, pb.Poses, _proto.poses_to_pb, _proto.poses_from_pb),
    _Schema("posetask.v1.Tracks", Tracks, pb.Tracks, _proto.tracks_to_pb, _proto.tracks_from_pb),
    _Schema("posetask.v1.Foreign", ForeignMessage, pb.Foreign, _proto.foreign_to_pb, _proto.foreign_from_pb),
)
_BY_NAME = {schema.name: schema for schema in _SCHEMAS}
_BY_CLASS: dict[type[Any], _Schema] = {schema.cls: schema for schema in _SCHEMAS}


def encode(
    record: Message | EndOfStream, *, run: str = "", quarantined: bool = False, traceparent: str = ""
) -> WireRecord:
    """A record as Kafka holds it.

    Args:
        record: An :class:`EncodedFrame`, a result, a message of anyone's (:class:`WireMessage`), or the end.
        run: Of the end of the stream, which has no header to say it; messages carry their own.
        quarantined: The frame was given up.
        traceparent: W3C trace context.

    Raises:
        StageFailed: The message cannot travel: its class says no way how, or a value is
            out of the schema's range.

    >>> from posetask.messages import DecodeReport
    >>> encode(EndOfStream(2, DecodeReport(frames_decoded=2)), run="demo").headers[0]
    ('schema', b'posetask.v1.EndOfStream')
    """
    try:
        if isinstance(record, EndOfStream):
            name, key = END, END_KEY
            value, extra = _proto.end_to_pb(record, run).SerializeToString(), [("run", run.encode())]
        elif isinstance(record, EncodedFrame):
            name, key, value, extra = FRAME, _key(record), record.jpeg, frame_headers(record.header)
        else:
            name, key = _schema_of(record).name, _key(record)
            value = _message_bytes(record, quarantined)
            extra = [("run", record.header.run.encode()), ("frame_index", key)]
    except (ValueError, OverflowError, TypeError) as error:
        raise StageFailed(
            f"a {type(record).__name__} cannot travel: {error}",
            hint="every field must be in the range that proto/posetask/v1/records.proto gives it",
        ) from error
    headers = [("schema", name.encode()), ("schema_version", str(SCHEMA_VERSION).encode()), *extra]
    if quarantined:
        headers.append(("quarantined", b"1"))
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return WireRecord(key, value, headers)


def decode(key: bytes | None, value: bytes | None, headers: Headers | None) -> Envelope:
    """The inverse of :func:`encode`.

    Raises:
        MalformedRecord: Not a record of ours, damaged, or of a newer schema; says which, and what to do.
    """
    fields: dict[str, str] = {}
    try:
        fields = {name: (data or b"").decode() for name, data in headers or ()}
        return _decode(key, value or b"", fields)
    except (ValueError, OverflowError, DecodeError) as error:
        what = f"{fields.get('schema', 'a record without a schema')[:60]} with key {(key or b'')[:20]!r}"
        raise MalformedRecord(
            f"{what} and {len(value or b'')} bytes cannot be read: {error}",
            hint="something else wrote to this topic, or it was damaged; run the task again",
        ) from None


def _decode(key: bytes | None, value: bytes, fields: dict[str, str]) -> Envelope:
    name, version = fields.get("schema", ""), fields.get("schema_version", "")
    if name != FRAME and name != END and name not in _BY_NAME:
        raise ValueError(f"no schema of ours ({name[:60]!r})")
    if version != str(SCHEMA_VERSION):
        raise MalformedRecord(
            f"{name} of schema version {version[:10] or 'none'}; this build reads version {SCHEMA_VERSION}",
            hint="run every stage of a task from the same release",
        )
    quarantined = fields.get("quarantined") == "1"
    record: Any
    if name == END:
        end = pb.EndOfStream.FromString(value)
        return Envelope(_proto.end_from_pb(end), end.run, traceparent=fields.get("traceparent", ""))
    if name == FRAME:
        record = EncodedFrame(parse_frame_headers(fields), value)
    else:
        schema = _BY_NAME[name]
        record = schema.from_pb(schema.pb_cls.FromString(value))
    if key != _key(record):
        raise ValueError(f"it speaks of frame {record.header.index}")
    return Envelope(record, record.header.run, quarantined, fields.get("traceparent", ""))


def _key(record: Message) -> bytes:
    if record.header.index < 0:
        raise ValueError(f"frame index {record.header.index}")
    return str(record.header.index).encode()


def _schema_of(record: Message) -> _Schema:
    schema = _BY_CLASS.get(type(record))
    if schema is not None:
        return schema
    if isinstance(record, WireMessage):
        return _BY_CLASS[ForeignMessage]
    raise StageFailed(
        f"{type(record).__name__} cannot leave this process",
        hint="give the class wire_schema, wire_version, to_wire and from_wire (posetask.messages.envelope)",
    )


def _message_bytes(record: Message, quarantined: bool) -> bytes:
    schema = _schema_of(record)
    if schema.cls is ForeignMessage and isinstance(record, WireMessage):
        record = ForeignMessage(record.header, record.wire_schema, record.wire_version, record.to_wire())
    data: bytes = schema.to_pb(record, quarantined=quarantined).SerializeToString(deterministic=True)
    return data


def headline(key: bytes | None, headers: Headers | None) -> int | None:
    """The frame index of a record without reading its value; None for the end of the stream.

    Raises:
        MalformedRecord: The headers are not ours.
    """
    fields = dict(headers or ())
    schema, index = fields.get("schema") or b"", fields.get("frame_index") or b""
    if schema == END.encode():
        return None
    if not schema.startswith(b"posetask.v1.") or not index.isdigit() or len(index) > 19:
        raise MalformedRecord(
            f"the record with key {(key or b'')[:20]!r} does not say which frame it speaks of",
            hint="something else wrote to this topic; run the task again",
        )
    return int(index)


__all__ = ["SCHEMA_VERSION", "decode", "encode", "headline"]
