"""What the schema, the reasons and the stages' parameters say, as Markdown for the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from posetask.spec.reasons import catalogue
from posetask.spec.structural import Schema

_BEGIN, _END = "<!-- generated: {} -->", "<!-- end of generated -->"


def fill(text: str, parts: Mapping[str, str]) -> str:
    r"""The page with every generated part written anew.

    Raises:
        ValueError: The page has no place for a part, or a place for none.

    >>> fill("a\n<!-- generated: x -->\nold\n<!-- end of generated -->\nb", {"x": "new"})
    'a\n<!-- generated: x -->\nnew\n<!-- end of generated -->\nb'
    """
    places = re.findall(_BEGIN.format("(.*)"), text)
    if sorted(places) != sorted(parts):
        raise ValueError(f"the page has places for {sorted(places)}; there is {sorted(parts)}")
    for name, body in parts.items():
        begin = _BEGIN.format(name)
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{body}\n{_END}{rest.partition(_END)[2]}"
    return text


def fields(schema: Schema, changes: frozenset[str] = frozenset()) -> str:
    """A table of the fields below a schema.

    Args:
        schema: Structural; of ``spec`` or ``status``.
        changes: Paths that may change later, as ``scheduling.priority``.
    """
    rows = ["| field | type | default | what |", "|---|---|---|---|"]
    for path, field, required in _walk(schema, ""):
        default = "**required**" if required else _default(field)
        words = _cell(field["description"])
        if path.replace("[]", "") in changes:
            words += " *May be changed later.*"
        rows.append(f"| `{path}` | {_type(field)} | {default} | {words} |")
    return "\n".join(rows)


def reasons() -> str:
    """A table of all reasons."""
    rows = ["| reason | said of | what it means | what to do |", "|---|---|---|---|"]
    for reason, words in catalogue().items():
        where = ", ".join(words.conditions)
        rows.append(f"| `{reason}` | {where} | {_cell(words.meaning)} | {_cell(words.resolution) or '-'} |")
    return "\n".join(rows)


def parameters(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of the stages' parameters.

    Args:
        stages: JSON schema of a stage's parameters, by stage.
    """
    rows = ["| stage | parameter | type | default | what |", "|---|---|---|---|---|"]
    for stage, schema in stages.items():
        for name, field in schema["properties"].items():
            choices = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
            kind = " or ".join(_bounded(one) for one in choices)
            default = field.get("default")
            shown = "" if default is None else f"`{str(default).lower()}`"
            rows.append(f"| {stage} | `{name}` | {kind} | {shown} | {_cell(field.get('description', ''))} |")
    return "\n".join(rows)


def _walk(schema: Schema, at: str) -> Iterator[tuple[str, Schema, bool]]:
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        here = f"{at}{name}" + ("[]" if "properties" in inner and inner is not field else "")
        if "properties" in inner:
            yield from _walk(inner, here + ".")
        else:
            yield here, field, name in schema.get("required", ())


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or text"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    return _bounded(field)


def _bounded(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    kind: str = {"string": "text", "number": "fraction"}.get(field["type"], field["type"])
    if field.get("format") == "date-time":
        return "time"
    if kind not in {"integer", "fraction"}:
        return kind
    said = [
        f"{words} {_number(field[bound])}"
        for words, bound in (
            ("at least", "minimum"),
            ("above", "exclusiveMinimum"),
            ("at most", "maximum"),
            ("below", "exclusiveMaximum"),
        )
        if bound in field
    ]
    if {"minimum", "maximum"} <= set(field):
        said = [f"{_number(field['minimum'])} to {_number(field['maximum'])}"]
    return ", ".join([kind, *said])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if isinstance(value, list):
        said = ", ".join(value)
    else:
        said = value if isinstance(value, str) else str(value).lower()
    return f"`{said}`" if said else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
