"""Settings of a model that is in no catalogue: what its graph tells, and what a note beside it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from posetask.errors import InvalidParameters, ModelContract
from posetask.models.catalogue import Catalogue, DetectorSpec, ModelSpec, PoseSpec, parse_spec
from posetask.models.onnxfile import Dims, GraphFacts

S = TypeVar("S", bound=ModelSpec)

_NOTE_BYTES = 64 * 1024
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_IMAGENET: dict[str, Any] = {
    "colour": "RGB",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}


def describe(kind: type[S], path: Path, facts: GraphFacts, sha256: str) -> S:
    """Find out how a local file is to be used.

    A file whose digest the catalogue knows gets the catalogue's spec. Another one is taken for an export
    of the same families: YOLOX without normalisation, RTMPose with ImageNet's. A note ``<file>.yaml``
    beside it overrides any field; ``like: NAME`` in it starts from that model of the catalogue.

    Args:
        kind: What it has to be.
        path: The .onnx file.
        facts: Its outline.
        sha256: Of the file.

    Raises:
        ModelContract: The graph is of neither family, or of the other one.
        InvalidParameters: The note is wrong.
    """
    note = _read_note(path.with_name(path.name + ".yaml"))
    known = next((s for s in Catalogue.load() if s.sha256 == sha256), None)
    base: Mapping[str, Any]
    if "like" in note:
        base = Catalogue.load().get(str(note.pop("like"))).model_dump()
    elif known is not None:
        base = known.model_dump()
    else:
        base = _from_graph(kind, path, facts, note)
    if known is None:  # what was said and measured of the catalogue's file is not true of this one
        base = {**base, "name": _name(path), "size": None, "accuracy": (), "sha256_source": ""}
    fields = {**base, **note, "sha256": sha256, "urls": (), "member": None}
    try:
        spec = parse_spec(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidParameters(
            f"{path.name}.yaml: {problems}", hint="docs/models.md lists the fields"
        ) from None
    if not isinstance(spec, kind):
        what = "estimates poses" if isinstance(spec, PoseSpec) else "detects people"
        raise ModelContract(f"{path.name} {what}", hint="give it to the other option (--detector, --pose)")
    return spec


def _name(path: Path) -> str:
    stem = "".join(c if c.isalnum() and c.isascii() else "-" for c in path.stem.lower()).strip("-")
    return stem[:80] or "model"


def _read_note(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_NOTE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidParameters(f"{path} cannot be read: {error.strerror}") from None
    try:
        if len(text) > _NOTE_BYTES:
            raise ValueError(f"it has more than {_NOTE_BYTES} bytes")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("it uses aliases")  # a few lines of them unfold to gigabytes
        note = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidParameters(f"{path} is no note about a model: {str(error).splitlines()[0]}") from None
    if note is None:
        return {}
    if not isinstance(note, dict) or not all(isinstance(key, str) for key in note):
        raise InvalidParameters(f"{path} must hold fields with names, like 'colour: RGB'")
    return note


def _from_graph(
    kind: type[ModelSpec], path: Path, facts: GraphFacts, note: Mapping[str, Any]
) -> dict[str, Any]:
    found = "; ".join(str(t) for t in facts.inputs) + " -> " + "; ".join(str(t) for t in facts.outputs)
    image = facts.inputs[0].dims if len(facts.inputs) == 1 else None
    if image is None or len(image) != 4 or image[1] not in (3, None) or not facts.inputs[0].float32:
        raise ModelContract(
            f"{path.name}: expected one float32 input [batch, 3, height, width], found {found}"
        )
    height, width = (
        d if isinstance(d, int) else note.get(n) for n, d in zip(("height", "width"), image[2:], strict=True)
    )
    if not isinstance(height, int) or not isinstance(width, int):
        raise ModelContract(
            f"{path.name} leaves its input size open", hint=f"say width and height in {path.name}.yaml"
        )
    base = {
        "name": _name(path),
        "version": "local",
        "width": width,
        "height": height,
        "batch": "fixed" if isinstance(image[0], int) else "dynamic",
    }
    outputs = [t.dims or () for t in facts.outputs]
    fields = _pose(facts, outputs, width, height) or _detector(outputs, width, height)
    if fields is None:
        wanted = (
            "[batch, anchors, 5 + classes] (YOLOX) or [batch, people, 5] (NMS inside)"
            if kind is DetectorSpec
            else "simcc_x [batch, K, 2 width] and simcc_y [batch, K, 2 height]"
        )
        raise ModelContract(f"{path.name}: expected outputs {wanted}, found {found}")
    return base | fields


def _pose(facts: GraphFacts, outputs: list[Dims], width: int, height: int) -> dict[str, Any] | None:
    if len(outputs) < 2:
        return None
    names = [t.name for t in facts.outputs]
    named = {"simcc_x", "simcc_y"} <= set(names)
    order = [names.index("simcc_x"), names.index("simcc_y")] if named else [0, 1]
    x, y = (outputs[i] for i in order)
    bins = [d[2] if len(d) == 3 and isinstance(d[2], int) else None for d in (x, y)]
    count = x[1] if len(x) == 3 and isinstance(x[1], int) else None
    if not named and (count is None or None in bins or len(y) != 3 or y[1] != count):
        return None
    ratio = bins[0] / width if bins[0] else 2.0
    if not named and bins[1] != round(ratio * height):
        return None
    keypoints = count or 17
    return {
        **_IMAGENET,
        "kind": "pose",
        "keypoints": keypoints,
        "skeleton": "coco17" if keypoints == 17 else None,
        "split_ratio": ratio,
    }


def _detector(outputs: list[Dims], width: int, height: int) -> dict[str, Any] | None:
    first = outputs[0] if outputs else ()
    if len(first) != 3 or not isinstance(first[2], int) or first[2] < 5:
        return None
    rows, columns = first[1], first[2]
    fields: dict[str, Any] = {"kind": "detector", "colour": "BGR"}
    for strides in _STRIDES:
        if any(width % s or height % s for s in strides):
            continue
        anchors = sum((width // s) * (height // s) for s in strides)
        if columns > 5 and (rows == anchors or (not isinstance(rows, int) and strides == _STRIDES[0])):
            return fields | {"strides": strides, "classes": columns - 5}
    if columns == 5:  # MMDeploy's export, which resizes as MMDetection does
        return fields | {
            "output": "nms",
            "score_rule": "direct",
            "nms_threshold": None,
            "rounding": "nearest",
        }
    return None
