"""The values as a table, for docs/chart.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_BEGIN, _END = "<!-- generated: values -->", "<!-- end of generated -->"


def filled(page: str, schema: Schema, values: Schema) -> str:
    """The page with its table written anew.

    Raises:
        ValueError: It has no place for one.
    """
    head, begin, rest = page.partition(f"{_BEGIN}\n")
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"docs/chart.md has no {_BEGIN}")
    return f"{head}{begin}{table(schema, values)}\n{end}{tail}"


def table(schema: Schema, values: Schema) -> str:
    """One row for each value that is not a section."""
    rows = ["| value | default | what |", "|---|---|---|"]
    rows += [f"| `{path}` | {default} | {words} |" for path, default, words in _rows(schema, values, "")]
    return "\n".join(rows)


def _rows(schema: Schema, values: Any, at: str) -> Iterator[tuple[str, str, str]]:
    for name, field in schema["properties"].items():
        value = values.get(name) if isinstance(values, dict) else None
        path = f"{at}{name}"
        items = field.get("items", {})
        if name == "resources":
            yield path, "", field["description"]
        elif "properties" in field:
            yield from _rows(field, value, f"{path}.")
        elif "properties" in items:
            yield f"{path}[]", "", field["description"]
            yield from _rows(items, value[0] if value else {}, f"{path}[].")
        else:
            shown = "" if value is None or value in ("", [], {}) else f"`{json.dumps(value)}`"
            yield path, shown.replace("|", "\\|"), field["description"].replace("|", "\\|")
