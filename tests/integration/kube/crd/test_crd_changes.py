"""Every field of spec set, changed and unset on a real API server: refused or honoured, as DESIGN says.

The table comes from the schema, so that a field that is added later is tried too: a text field without a
sample below fails the collection.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubelib.api import Refused
from posetask.spec import API_VERSION, PLURAL
from posetask.spec.crd import spec_schema

Object = dict[str, Any]
Path = tuple[str, ...]

# The oracle, written by hand: what may change during the life of a task.
MUTABLE = {"suspend", "scheduling.priority"}
MUTABLE_BELOW = "cleanup."
ONE_WAY = {"cancel"}

# Two values for each text that has a form.
SAMPLES: dict[str, tuple[str, str]] = {
    "source.uri": ("s3://videos/b.mp4", "s3://videos/c.mp4"),
    "output.uri": ("s3://results/b", "s3://results/c"),
    "scheduling.profile": ("gpu", "cpu"),
    "stages.name": ("faces", "hands"),
    "stages.type": ("faces", "hands"),
    "stages.model": ("faces-1", "faces-2"),
    "stages.inputs": ("raw_frames", "rtmpose"),
    "stages.accelerator.type": ("amd.com/gpu", "example.com/npu"),
    "stages.resources.cpu": ("2", "500m"),
    "stages.resources.memory": ("4Gi", "2Gi"),
    "stages.resources.ephemeralStorage": ("10Gi", "1Gi"),
    "stages.parameters": ("0.3", "0.4"),
}
BASE: Object = {"source": {"uri": "s3://videos/a.mp4"}}
STAGE: Object = {"name": "own"}


def leaves(schema: Object, at: Path = ()) -> Iterator[tuple[Path, Object]]:
    """Every field that holds a value, lists of values and maps included."""
    for name, field in schema["properties"].items():
        here = (*at, name)
        inner = field.get("items", field)
        if "properties" in inner:
            yield from leaves(inner, here)
        else:
            yield here, field


def values(path: Path, field: Object) -> tuple[Any, Any]:
    """Two valid values, neither of them the default."""
    dotted = ".".join(path)
    if dotted in SAMPLES:
        first, second = SAMPLES[dotted]
        if field.get("type") == "array":
            return [first], [first, second]
        if "additionalProperties" in field:
            return {"score": first}, {"score": second}
        return first, second
    default = field.get("default")
    if field.get("type") == "boolean":
        return (not default, bool(default)) if default is not None else (True, False)
    if field.get("type") == "array":
        return [field["items"]["enum"][0]], [field["items"]["enum"][1]]
    if "enum" in field:
        others = [one for one in field["enum"] if one != default]
        return others[0], others[-1] if len(others) > 1 else default
    assert field["type"] == "integer", f"{dotted}: a text without a sample in this table"
    numbers = [n for n in (field["minimum"], field["minimum"] + 1, field["minimum"] + 2) if n != default]
    return numbers[0], numbers[1]


def with_value(path: Path, value: Any) -> Object:
    """The base, and the field at ``path``; where it is one of a stage, a stage with it."""
    spec = copy.deepcopy(BASE)
    node: Any = spec
    for depth, name in enumerate(path):
        if depth == len(path) - 1:
            node[name] = value
        elif path[: depth + 1] == ("stages",):
            node["stages"] = [dict(STAGE)]
            node = node["stages"][0]
        else:
            node = node.setdefault(name, {})
    return spec


def without(path: Path) -> Object:
    """The same without the field; what it lies in stays."""
    spec = with_value(path, "gone")
    node: Any = spec
    for name in path[:-1]:
        node = node[name]
        node = node[0] if isinstance(node, list) else node
    del node[path[-1]]
    return spec


def read(spec: Object, path: Path) -> Any:
    node: Any = spec
    for name in path:
        node = node[0] if isinstance(node, list) else node
        node = node.get(name) if node is not None else None
    return node


TABLE = [(path, field) for path, field in leaves(spec_schema())]
REQUIRED = {"source.uri", "stages.name"}


def honoured(path: Path, before: Any, after: Any) -> bool:
    dotted = ".".join(path)
    if before == after:
        return True
    if dotted in ONE_WAY:
        return after is True
    return dotted in MUTABLE or dotted.startswith(MUTABLE_BELOW)


def test_no_text_is_without_a_sample_and_no_sample_without_a_field() -> None:
    assert set(SAMPLES) <= {".".join(path) for path, _ in TABLE}
    assert len(TABLE) >= 35
    for path, field in TABLE:
        first, second = values(path, field)
        assert first != second, path
        assert first != field.get("default"), path


@pytest.mark.parametrize(("path", "field"), TABLE, ids=[".".join(path) for path, _ in TABLE])
def test_a_field_is_set_changed_and_unset_as_the_design_says(
    api: Any, task: Callable[..., Object], path: Path, field: Object
) -> None:
    first, second = values(path, field)
    default = field.get("default")
    states: dict[str, tuple[Object, Any]] = {
        "first": (with_value(path, first), first),
        "second": (with_value(path, second), second),
    }
    if ".".join(path) not in REQUIRED:
        states["unset"] = (without(path), default)
    tried = 0
    for start, (before_spec, before) in states.items():
        made = api.create(PLURAL, "schema", task(before_spec))
        assert read(made["spec"], path) == before, f"{start} is not stored"
        where = api.path(API_VERSION, PLURAL, "schema", made["metadata"]["name"])
        for end, (after_spec, after) in states.items():
            if start == end:
                continue
            tried += 1
            changed = {**made, "spec": after_spec}
            code, said = put(api, where, changed)
            what = f"{'.'.join(path)}: {json.dumps(before)} -> {json.dumps(after)}"
            if honoured(path, before, after):
                assert code == 200, f"{what} is refused: {said}"
                assert read(said["spec"], path) == after, f"{what} is not honoured"
            else:
                assert code == 422, f"{what} is taken"
                assert "Forbidden: cannot be" in said["message"], said["message"]
                assert f"spec.{field_of(path)}" in said["message"], said["message"]
    assert tried >= 2


def field_of(path: Path) -> str:
    """Where the API server says that it is: lists are compared whole."""
    return "stages" if path[0] == "stages" else ".".join(path)


def put(api: Any, where: str, body: Object) -> tuple[int, Object]:
    """A replacement that is checked as a real one is, and not stored."""
    try:
        return 200, api.call("PUT", where, body, query={"dryRun": "All", "fieldValidation": "Strict"})
    except Refused as refused:
        return refused.code, {"message": str(refused)}
