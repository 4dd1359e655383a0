"""Reads an .onnx file's outline without loading it, and refuses one that would open other files.

A tensor of an ONNX graph may live in another file, named by path ("external data"). ONNX Runtime
checks such paths, but a hard link passes the check, so a model could make the process read anything it
may read. None of the models here needs it: whoever has one refuses it before ONNX Runtime sees it.

ONNX is protobuf (onnx.proto3), so a small reader of the wire format is enough (protobuf.dev,
"Encoding"); the ``onnx`` package is not needed at run time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from posetask.errors import ModelCorrupt, UnknownModel

MAX_BYTES = 1 << 30
"""Largest model file read; the largest of the catalogue has 0.4 GB."""

_MAX_FIELDS = 4_000_000
_MAX_DEPTH = 32
_FLOAT = 1

Dims = tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A graph input or output as declared.

    Attributes:
        name: As in the graph.
        float32: Whether its elements are.
        dims: Numbers, names of free dimensions, None where nothing is said; None if there is no shape.
    """

    name: str
    float32: bool
    dims: Dims | None

    def __str__(self) -> str:
        if self.dims is None:
            return f"{self.name} (no shape)"
        return f"{self.name} [{', '.join('?' if d is None else str(d) for d in self.dims)}]"


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph declares: its inputs (weights left out) and its outputs."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


def read_model(path: Path) -> bytes:
    """Read the file whole; afterwards nothing else of the disk is needed.

    Raises:
        UnknownModel: There is no such file.
        ModelCorrupt: It is no regular file, is empty, or is larger than :data:`MAX_BYTES`.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise ModelCorrupt(f"{path} is not a file", hint="give the path of an .onnx file")
            if info.st_size > MAX_BYTES:
                raise ModelCorrupt(f"{path} has {info.st_size} bytes, more than the limit of {MAX_BYTES}")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnknownModel(f"there is no model file {path}", hint="check the path") from None
    except OSError as error:
        raise ModelCorrupt(f"model file {path} cannot be read: {error.strerror}") from None
    if not data:
        raise ModelCorrupt(f"{path} is empty", hint="fetch it again: posetask models pull")
    return data


def _open(path: str, flags: int) -> int:
    # a pipe named model.onnx must not hang the process
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def inspect(data: bytes, name: str) -> GraphFacts:
    """Check that ``data`` is an ONNX graph complete in itself, and say what it declares.

    Args:
        data: The whole file.
        name: For messages.

    Raises:
        ModelCorrupt: Not ONNX, truncated, nested absurdly, or it refers to other files.
    """
    if data[4:8] == b"ORTM":
        raise ModelCorrupt(f"{name} is in ONNX Runtime's own format", hint="give the .onnx it was made from")
    reader = _Reader(memoryview(data), name)
    graphs = [span for number, span in reader.messages(0, len(data)) if number == 7]
    if not graphs:
        raise ModelCorrupt(f"{name} is not an ONNX model", hint="it may be a web page or cut short")
    inputs: list[TensorFacts] = []
    outputs: list[TensorFacts] = []
    weights: set[str] = set()
    for span in graphs:
        for number, (start, end) in reader.messages(*span):
            if number == 5:
                weights.add(reader.text(start, end, 8))
            elif number in (11, 12):
                (inputs if number == 11 else outputs).append(reader.value_info(start, end))
    reader.refuse_references(0, len(data))
    return GraphFacts(tuple(t for t in inputs if t.name not in weights), tuple(outputs))


class _Reader:
    """Walks protobuf messages. Spans are (start, end) offsets."""

    def __init__(self, data: memoryview, name: str) -> None:
        self._data = data
        self._name = name
        self._fields = 0

    def _broken(self, why: str) -> ModelCorrupt:
        return ModelCorrupt(
            f"{self._name} is not an ONNX model: {why}", hint="it may be cut short or damaged"
        )

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self._data[at]
            value |= (byte & 0x7F) << shift
            at += 1
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
        raise self._broken("a number runs over its end")

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
        """Yield (number, value, None) of varints, (number, 0, span) of what has a length."""
        at = start
        while at < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise self._broken("it has more parts than any real model")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == 0:
                value, at = self._varint(at, end)
                yield number, value, None
                continue
            if wire == 2:
                size, at = self._varint(at, end)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise self._broken(f"field type {wire}")
            if number == 0 or size > end - at:
                raise self._broken("a part is longer than the whole")
            if wire == 2:
                yield number, 0, (at, at + size)
            at += size

    def messages(self, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield (number, span) of the fields that have a length."""
        for number, _, span in self.fields(start, end):
            if span is not None:
                yield number, span

    def text(self, start: int, end: int, field: int) -> str:
        """Read a string field, "" where it is absent."""
        found = ""
        for number, (a, b) in self.messages(start, end):
            if number == field:
                found = bytes(self._data[a:b]).decode("utf-8", "replace")
        return found

    def value_info(self, start: int, end: int) -> TensorFacts:
        """ValueInfoProto: name = 1, type = 2; TypeProto.tensor_type = 1; Tensor: elem_type 1, shape 2."""
        kind, dims = 0, None
        for number, span in self.messages(start, end):
            if number != 2:
                continue
            for tensor in (s for n, s in self.messages(*span) if n == 1):
                for n, value, inner in self.fields(*tensor):
                    if n == 1 and inner is None:
                        kind = value
                    elif n == 2 and inner is not None:
                        dims = tuple(self._dim(*d) for m, d in self.messages(*inner) if m == 1)
        return TensorFacts(self.text(start, end, 1), kind == _FLOAT, dims)

    def _dim(self, start: int, end: int) -> int | str | None:
        for number, value, span in self.fields(start, end):
            if number == 1 and span is None:
                return value if value < 1 << 63 else None
            if number == 2 and span is not None:
                return bytes(self._data[slice(*span)]).decode("utf-8", "replace")
        return None

    def refuse_references(self, start: int, end: int) -> None:
        """Raise unless every tensor of every graph, function and training graph is in this file."""
        pending = [("model", start, end, 0)]
        while pending:
            kind, a, b, depth = pending.pop()
            if depth > _MAX_DEPTH:
                raise self._broken("graphs are nested too deep")
            if kind == "node" and self.text(a, b, 4) == "EPContext":
                raise self._foreign("a node that loads a compiled model from another file")
            for number, value, span in self.fields(a, b):
                if kind == "tensor":
                    # data_location = 14 (EXTERNAL = 1), external_data = 13
                    if (number == 14 and span is None and value == 1) or (number == 13 and span is not None):
                        raise self._foreign("weights in another file")
                elif span is not None and (inside := _CHILDREN[kind].get(number)):
                    pending.append((inside, *span, depth + 1))

    def _foreign(self, what: str) -> ModelCorrupt:
        return ModelCorrupt(
            f"{self._name} has {what}; models must be complete in one file",
            hint="save it with onnx.save(model, path, save_as_external_data=False)",
        )


# message -> field number -> message in it, as far as tensors can be below (onnx.proto3)
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
