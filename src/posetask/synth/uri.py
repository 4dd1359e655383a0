"""A world as a URI: ``synth:people=4,frames=150,seed=7,size=640x360``."""

from __future__ import annotations

import re

from pydantic import ValidationError

from posetask.errors import InvalidParameters
from posetask.synth.spec import WorldSpec

SCHEME = "synth:"

_NAMES = {
    "seed": "seed",
    "people": "people",
    "frames": "frames",
    "fps": "frame_rate",
    "difficulty": "difficulty",
    "camera": "camera",
    "place": "place",
    "paths": "paths",
    "min-height": "min_height",
    "max-height": "max_height",
}
_FLAGS = {"hard": ("difficulty", "hard"), "number-code": ("number_code", True), "still": ("camera", "still")}
_EXAMPLE = "synth:people=4,frames=150,seed=7,size=640x360"


def parse(uri: str) -> WorldSpec:
    """Read a world from a URI. What is not said has its default.

    Keys: ``seed, people, frames, fps, size=WxH, difficulty=easy|hard, camera=still|moving,
    place=any|room|street|park|clutter, paths=apart|crossing|free, min-height, max-height``; flags:
    ``hard, still, number-code``.

    Raises:
        InvalidParameters: Not such a URI, an unknown or repeated key, or a value out of bounds.

    >>> spec = parse("synth:people=4,frames=150,seed=7,size=640x360,number-code")
    >>> spec.people, spec.width, spec.number_code
    (4, 640, True)
    """
    if not uri.startswith(SCHEME):
        raise InvalidParameters(f"{uri!r} does not begin with {SCHEME!r}", hint=f"for example {_EXAMPLE}")
    values: dict[str, object] = {}
    for item in filter(None, (part.strip() for part in uri[len(SCHEME) :].lstrip("/").split(","))):
        for name, value in _entry(item).items():
            if name in values:
                raise InvalidParameters(f"{item!r} says {name} a second time", hint="give each key once")
            values[name] = value
    try:
        return WorldSpec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "the world"
        raise InvalidParameters(f"{name}: {first['msg'].lower()}", hint=f"for example {_EXAMPLE}") from None


def _entry(item: str) -> dict[str, object]:
    key, equals, value = item.partition("=")
    key, value = key.strip(), value.strip()
    if not equals:
        if key not in _FLAGS:
            raise InvalidParameters(f"unknown flag {key!r}", hint=f"known: {', '.join(_FLAGS)}")
        name, flag = _FLAGS[key]
        return {name: flag}
    if key == "size":
        size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
        if not size:
            raise InvalidParameters(f"size {value!r} is not WIDTHxHEIGHT", hint="for example size=640x360")
        return {"width": int(size[1]), "height": int(size[2])}
    if key not in _NAMES:
        raise InvalidParameters(
            f"unknown key {key!r}", hint=f"known: {', '.join([*_NAMES, 'size', *_FLAGS])}"
        )
    return {_NAMES[key]: value}


def write(spec: WorldSpec) -> str:
    """Write a world as a URI; :func:`parse` of it gives the same world.

    >>> write(WorldSpec(seed=7, people=2))
    'synth:seed=7,people=2,size=640x360'
    """
    parts = []
    plain = WorldSpec()
    for key, name in _NAMES.items():
        value = getattr(spec, name)
        if value != getattr(plain, name) or key in ("seed", "people"):
            parts.append(f"{key}={value}")
    parts.append(f"size={spec.width}x{spec.height}")
    if spec.number_code:
        parts.append("number-code")
    return SCHEME + ",".join(parts)
