"""The wire: every record round-trips bit for bit, and nothing that is no record of ours gets through."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posetask.errors import MalformedRecord, StageFailed
from posetask.messages import DecodeReport, Detections, EndOfStream, FrameHeader, Poses, Tracks
from posetask.messages import envelope as envelopes
from posetask.messages.envelope import EncodedFrame, ForeignMessage, register_message
from posetask.messages.wire import decode, encode, headline

HEADER = FrameHeader(7, 3584, Fraction(1, 12800), 640, 360, run="demo-1f2e3d4c")


_INT64 = st.integers(-(2**63), 2**63 - 1)
_RUNS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=49)


@st.composite
def headers(draw: st.DrawFn) -> FrameHeader:
    return FrameHeader(
        index=draw(st.integers(0, 2**63 - 1)),
        pts=draw(_INT64),
        time_base=Fraction(draw(st.integers(1, 2**31)), draw(st.integers(1, 2**31))),
        width=draw(st.integers(1, 2**16)),
        height=draw(st.integers(1, 2**16)),
        duration=draw(st.integers(0, 2**62)),
        frame_rate=draw(st.floats(0, 1e6)),
        analysed=draw(st.booleans()),
        dropped_before=draw(st.integers(0, 2**40)),
        run=draw(_RUNS),
    )


def _floats(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, shape, elements=st.floats(width=32))


def _ints(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.int32, shape)


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    n = draw(st.integers(0, 5))
    return Detections(draw(headers()), draw(_floats(n, 4)), draw(_floats(n)))


@st.composite
def poses(draw: st.DrawFn) -> Poses:
    n, k = draw(st.integers(0, 4)), draw(st.sampled_from([1, 17]))
    return Poses(
        draw(headers()), draw(_floats(n, 4)), draw(_floats(n)), draw(_floats(n, k, 2)), draw(_floats(n, k))
    )


@st.composite
def tracks(draw: st.DrawFn) -> Tracks:
    m, k = draw(st.integers(0, 4)), draw(st.sampled_from([1, 17]))
    return Tracks(
        draw(headers()),
        draw(_ints(m)),
        draw(_floats(m, 4)),
        draw(_floats(m)),
        draw(_ints(m)),
        draw(_floats(m, k, 2)),
        draw(_floats(m, k)),
        draw(st.booleans()),
    )


frames = st.builds(EncodedFrame, headers(), st.binary(max_size=200).map(lambda tail: b"\xff\xd8" + tail))
foreign = st.builds(
    ForeignMessage,
    headers(),
    st.from_regex(r"com\.[a-z]{1,10}\.[a-z]{1,10}", fullmatch=True),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
)
ends = st.builds(
    EndOfStream,
    st.integers(0, 2**40),
    st.builds(
        DecodeReport,
        frames_decoded=st.integers(0, 2**40),
        frames_declared=st.none() | st.integers(0, 2**40),
        corrupt_packets=st.integers(0, 2**40),
        missing_seconds=st.floats(0, 1e9),
        problems=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=3),
        stopped_early=st.booleans(),
    ),
)
messages = detections() | poses() | tracks() | frames | foreign


def bits(message: object) -> list[object]:
    """Field by field, arrays as their dtype, shape and bytes: NaN equals NaN of the same bits."""
    out: list[object] = [type(message)]
    for field in dataclasses.fields(message):  # type: ignore[arg-type]
        value = getattr(message, field.name)
        out.append((value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value)
    return out


@given(
    messages, st.booleans(), st.sampled_from(["", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
)
@settings(max_examples=150)
def test_every_message_comes_back_bit_for_bit(message: Any, quarantined: bool, traceparent: str) -> None:
    record = encode(message, quarantined=quarantined, traceparent=traceparent)
    back = decode(*record)
    assert bits(back.record) == bits(message)
    assert (back.run, back.quarantined, back.traceparent) == (message.header.run, quarantined, traceparent)
    assert headline(record.key, record.headers) == message.header.index
    assert encode(back.record, quarantined=quarantined, traceparent=traceparent) == record


@given(ends)
@settings(max_examples=50)
def test_the_end_comes_back(end: EndOfStream) -> None:
    record = encode(end, run="demo-1f2e3d4c")
    back = decode(*record)
    assert back.record == end
    assert back.run == "demo-1f2e3d4c"
    assert headline(record.key, record.headers) is None


@given(messages | ends, st.data())
@settings(max_examples=200)
def test_damage_gives_another_record_or_a_named_error_and_nothing_else(
    message: Any, data: st.DataObject
) -> None:
    key, value, headers = encode(message, run="r")
    damaged = bytearray(value)
    for _ in range(data.draw(st.integers(1, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    changed = list(headers)
    if data.draw(st.booleans()):
        name, _ = changed.pop(data.draw(st.integers(0, len(changed) - 1)))
        changed.append((name, data.draw(st.binary(max_size=12))))
    back = None
    with contextlib.suppress(MalformedRecord):
        back = decode(key, cut, changed)
    assert back is None or isinstance(back.record, EndOfStream) or isinstance(back.record.header, FrameHeader)


@given(
    st.none() | st.binary(max_size=30),
    st.none() | st.binary(max_size=60),
    st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=4),
)
@settings(max_examples=50)
def test_a_strangers_record_is_refused(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    with pytest.raises(MalformedRecord):
        decode(key, value, headers)
    with pytest.raises(MalformedRecord):
        headline(key, headers)


def with_header(name: str, value: bytes | None) -> list[tuple[str, bytes]]:
    headers = [(n, v) for n, v in encode(EncodedFrame(HEADER, b"\xff\xd8x")).headers if n != name]
    return headers if value is None else [*headers, (name, value)]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("schema", b"posetask.v1.Unheard", "no schema of ours"),
        ("schema_version", b"2", "this build reads version 1"),
        ("schema_version", None, "version none"),
        ("pts", b"1.5", "header pts is '1.5'"),
        ("pts", None, "header pts is missing"),
        ("time_base", b"1/0", "header time_base"),
        ("width", b"0", "header width"),
        ("frame_rate", b"nan", "header frame_rate"),
        ("analysed", b"yes", "header analysed"),
        ("run", b"\xff", "utf-8"),
        ("frame_index", b"8", "it speaks of frame 8"),
    ],
)
def test_a_bad_header_is_named(name: str, value: bytes | None, says: str) -> None:
    with pytest.raises(MalformedRecord, match=says):
        decode(b"7", b"\xff\xd8x", with_header(name, value))


def test_a_frame_is_a_jpeg_as_it_is_with_readable_headers() -> None:
    key, value, headers = encode(EncodedFrame(HEADER, b"\xff\xd8pixels"))
    assert (key, value) == (b"7", b"\xff\xd8pixels")
    assert dict(headers)["time_base"] == b"1/12800"
    with pytest.raises(MalformedRecord, match="no JPEG"):
        decode(key, b"GIF89a", headers)


def test_arrays_of_the_wrong_length_are_named() -> None:
    key, value, headers = encode(Detections(HEADER, np.zeros((2, 4), np.float32), np.zeros(2, np.float32)))
    with pytest.raises(MalformedRecord, match=r"xyxy: 32 bytes where \(3, 4\) of float32 takes 48"):
        decode(key, value.replace(b"\x10\x02", b"\x10\x03"), headers)


def test_decoded_arrays_are_read_only() -> None:
    poses = Poses.without_keypoints(Detections.empty(HEADER))
    back = decode(*encode(poses)).record
    assert isinstance(back, Poses)
    assert not back.keypoints.flags.writeable


@pytest.mark.parametrize(
    "message",
    [
        EncodedFrame(dataclasses.replace(HEADER, index=-1), b"\xff\xd8"),
        Detections.empty(dataclasses.replace(HEADER, pts=2**63)),
        ForeignMessage(HEADER, "com.example.x", -1, b""),
    ],
)
def test_a_value_out_of_range_cannot_travel(message: Any) -> None:
    with pytest.raises(StageFailed, match="cannot travel"):
        encode(message)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """A message of a package of anyone's."""

    header: FrameHeader
    mean: float
    wire_schema: ClassVar[str] = "com.example.brightness"
    wire_version: ClassVar[int] = 3

    def to_wire(self) -> bytes:
        return self.mean.hex().encode()

    @classmethod
    def from_wire(cls, header: FrameHeader, version: int, payload: bytes) -> Self:
        if version != cls.wire_version:
            raise RuntimeError(f"version {version}")
        return cls(header, float.fromhex(payload.decode()))


@pytest.fixture
def registry() -> Iterator[dict[str, type[Any]]]:
    before = dict(envelopes._known)
    yield envelopes._known
    envelopes._known.clear()
    envelopes._known.update(before)


def test_a_message_of_anyones_travels_and_is_known_where_it_is_registered(
    registry: dict[str, type[Any]],
) -> None:
    record = encode(Brightness(HEADER, 0.1))
    unknown = decode(*record).record
    assert isinstance(unknown, ForeignMessage)
    assert (unknown.schema, unknown.version) == ("com.example.brightness", 3)
    assert encode(unknown) == record
    register_message(Brightness)
    assert decode(*record).record == Brightness(HEADER, 0.1)


def test_what_a_registered_class_cannot_read_is_a_named_error(registry: dict[str, type[Any]]) -> None:
    register_message(Brightness)
    other = ForeignMessage(HEADER, "com.example.brightness", 4, b"")
    with pytest.raises(MalformedRecord, match=r"com\.example\.brightness version 4: RuntimeError"):
        decode(*encode(other))


def test_two_classes_cannot_share_a_schema(registry: dict[str, type[Any]]) -> None:
    register_message(Brightness)
    register_message(Brightness)
    other = type("Other", (Brightness,), {})
    with pytest.raises(TypeError, match="already"):
        register_message(other)


def test_a_message_without_a_wire_form_is_refused_with_the_way_to_give_it_one() -> None:
    @dataclasses.dataclass
    class Mute:
        header: FrameHeader

    with pytest.raises(StageFailed, match="wire_schema"):
        encode(Mute(HEADER))


def test_an_end_keeps_what_decoding_came_to() -> None:
    report = DecodeReport(3, None, 1, 0.04, ["2 packets are damaged"], True)
    assert decode(*encode(EndOfStream(3, report), run="r")).record == EndOfStream(3, report)
