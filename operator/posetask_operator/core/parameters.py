"""A stage's parameters against its JSON schema: integers and texts come in, typed values come out.

The operator does not import the stages (they bring the whole of inference with them), so it reads what their
pydantic models say of themselves: ``parameters.json`` for the built-in ones, the catalogue for any other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

Schema = Mapping[str, Any]
_SWITCH = {"true": True, "false": False}


@cache
def built_in_schemas() -> dict[str, dict[str, Any]]:
    """By stage.

    >>> sorted(built_in_schemas())
    ['annotator', 'bytetrack', 'producer', 'rtmpose', 'yolox']
    """
    found = json.loads((files(__package__) / "parameters.json").read_text())
    return dict(found)


def check(schema: Schema | None, given: Mapping[str, int | str]) -> tuple[dict[str, Any], list[str]]:
    """Typed values, and what is wrong with the others, in words.

    Args:
        schema: Of the stage's parameters; None where it is not known: then the stage itself checks.
        given: By name; a text where the parameter is a fraction ("0.3") or a switch ("true").

    >>> schema = {"properties": {"every_n": {"type": "integer", "minimum": 1}}}
    >>> check(schema, {"every_n": "2"})
    ({'every_n': 2}, [])
    >>> check(schema, {"every_n": 0, "colour": "red"})
    ({}, ['every_n: 0 is less than 1', 'colour: there is no such parameter (there are: every_n)'])
    """
    if schema is None:
        return dict(given), []
    known: Schema = schema.get("properties", {})
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            problems.append(f"{name}: there is no such parameter (there are: {there})")
            continue
        choices = [c for c in known[name].get("anyOf", [known[name]]) if c.get("type") != "null"]
        said = [_convert(choice, value) for choice in choices]
        good = [typed for typed, problem in said if problem is None]
        if good or not said:
            values[name] = good[0] if good else value
        else:
            problems.append(f"{name}: {' and '.join(str(problem) for _, problem in said)}")
    problems += [f"{name}: is required" for name in schema.get("required", ()) if name not in given]
    return values, problems


def _convert(schema: Schema, value: int | str) -> tuple[Any, str | None]:
    kind, typed = schema.get("type"), value
    if kind == "boolean":
        if str(value) not in _SWITCH:
            return None, f'{value!r} is neither "true" nor "false"'
        return _SWITCH[str(value)], None
    if kind in {"integer", "number"}:
        try:
            number = int(str(value)) if kind == "integer" else float(str(value))
        except ValueError:
            return None, f"{value!r} is no {kind}"
        problem = _bounds(schema, number)
        return (None, problem) if problem else (number, None)
    if kind == "string":
        typed = str(value)
        if "pattern" in schema and not re.search(schema["pattern"], typed):
            return None, f"{value!r} does not match {schema['pattern']}"
        if len(typed) > schema.get("maxLength", len(typed)):
            return None, f"is longer than {schema['maxLength']} characters"
    if "enum" in schema and typed not in schema["enum"]:
        return None, f"{value!r} is none of {', '.join(map(str, schema['enum']))}"
    if kind in {"object", "array"}:
        return None, f"a {kind} cannot be given as a parameter"
    return typed, None


def _bounds(schema: Schema, number: float) -> str | None:
    if not math.isfinite(number):
        return f"{number} is not finite"
    for key, broken, words in (
        ("minimum", number < schema.get("minimum", number), "is less than"),
        ("maximum", number > schema.get("maximum", number), "is more than"),
        ("exclusiveMinimum", number <= schema.get("exclusiveMinimum", -math.inf), "is not more than"),
        ("exclusiveMaximum", number >= schema.get("exclusiveMaximum", math.inf), "is not less than"),
    ):
        if broken:
            return f"{number:g} {words} {schema[key]:g}"
    if "enum" in schema and number not in schema["enum"]:
        return f"{number:g} is none of {', '.join(map(str, schema['enum']))}"
    return None
