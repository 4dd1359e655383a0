"""From the JSON schema of a pydantic model to the structural schema that the API server takes.

The API server takes a part of OpenAPI 3.0: no ``$ref``, no ``const``, no null beside a type, no bounds that
exclude their value, no rules for the keys of a map. What it cannot say is written as CEL here, in words.

References: Kubernetes, "Specifying a structural schema" and "Validation rules"; the CEL language definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_COPIED = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "default",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_KEY_LIMIT = 64


def structural(model: type[BaseModel]) -> Schema:
    """The schema of a model, for ``openAPIV3Schema``.

    Raises:
        TypeError: The model has something that the API server would refuse, or cannot bound; says where.
    """
    found = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(found.get("$defs", {})).convert(found, model.__name__)


def rule(cel: str, message: str, path: str | None = None, reason: str | None = None) -> dict[str, str]:
    """One of ``x-kubernetes-validations``."""
    said = {"rule": cel, "message": message, "fieldPath": path, "reason": reason}
    return {name: text for name, text in said.items() if text is not None}


def always_there(schema: Schema, name: str) -> bool:
    """Whether a property is never absent once the API server has filled in the defaults."""
    return name in schema.get("required", ()) or "default" in schema["properties"][name]


def immutable(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Paths of the fields that may not change: those without a marker, at the depth of plain sections.

    A section is an object that is always there; lists, maps and optional objects are compared whole.
    """
    found = model.model_json_schema(by_alias=True, mode="validation")
    yield from _unmarked(found, found.get("$defs", {}), ())


def transition_rules(model: type[BaseModel], mutable: str = "x-posetask-mutable") -> list[dict[str, str]]:
    """CEL rules at the level of ``model`` that refuse to set, change or unset what may not change.

    They stand there, and not beside the fields, because a rule of a field that comes or goes is not run.
    """
    schema = structural(model)
    rules = []
    for path in immutable(model):
        section: Schema = schema
        for name in path[:-1]:
            section = section["properties"][name]
        new, old = (".".join((root, *path)) for root in ("self", "oldSelf"))
        same = f"{new} == {old}"
        if not always_there(section, path[-1]):
            same = f"has({new}) == has({old}) && (!has({new}) || {same})"
        text = "cannot be changed: delete the task and apply it anew with what is right"
        rules.append(rule(same, text, "." + ".".join(path), "FieldValueForbidden"))
    found = model.model_json_schema(by_alias=True)
    for name, field in found["properties"].items():
        if field.get(mutable) == "one-way":
            text = "cannot be taken back: delete the task and apply it anew"
            rules.append(rule(f"self.{name} || !oldSelf.{name}", text, f".{name}", "FieldValueForbidden"))
    return rules


def _unmarked(schema: Schema, defs: Mapping[str, Schema], at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in schema["properties"].items():
        if "x-posetask-mutable" in field:
            continue
        if "$ref" in field:
            yield from _unmarked(_resolve(field, defs), defs, (*at, name))
        else:
            yield (*at, name)


def _resolve(field: Schema, defs: Mapping[str, Schema]) -> Schema:
    return defs[field["$ref"].rpartition("/")[2]]


class _Converter:
    def __init__(self, defs: Mapping[str, Schema]) -> None:
        self._defs = defs

    def convert(self, found: Schema, at: str) -> Schema:
        found = self._plain(found, at)
        out: Schema = {}
        if "description" in found:
            out["description"] = " ".join(found["description"].split())
        out |= {name: found[name] for name in _COPIED if found.get(name) is not None}
        if out.get("x-kubernetes-int-or-string"):
            out |= {"anyOf": found["anyOf"]}  # the one use of anyOf that is taken
            if "maxLength" not in found:
                raise TypeError(f"{at}: an integer or text without maxLength")
        elif "type" not in out:
            raise TypeError(f"{at}: no type that the API server knows: {found}")
        self._exclusive(found, out)
        if "pattern" in found:
            self._pattern(found, out)
        kind = out.get("type")
        if kind == "string" and not {"maxLength", "enum", "format"} & set(out):
            raise TypeError(f"{at}: a text without max_length")
        if kind == "array":
            if "maxItems" not in out:
                raise TypeError(f"{at}: a list without max_length")
            out["items"] = self.convert(found["items"], f"{at}[]")
        if kind == "object":
            self._object(found, out, at)
        return out

    def _plain(self, found: Schema, at: str) -> Schema:
        """Without ``$ref`` and without null; what the field says wins over what its type says."""
        if found.get("x-kubernetes-int-or-string"):
            return found
        if "anyOf" in found:
            choices = [one for one in found["anyOf"] if one.get("type") != "null"]
            if len(choices) != 1:
                raise TypeError(f"{at}: a choice between types")
            found = choices[0] | {name: value for name, value in found.items() if name != "anyOf"}
        if "$ref" in found:
            target = _resolve(found, self._defs)
            found = target | {name: value for name, value in found.items() if name != "$ref"}
        if "const" in found:
            found = {"enum": [found["const"]]} | found
        return found

    @staticmethod
    def _exclusive(found: Schema, out: Schema) -> None:
        if "exclusiveMinimum" in found:
            out["minimum"] = found["exclusiveMinimum"] + 1
        if "exclusiveMaximum" in found:
            out["maximum"] = found["exclusiveMaximum"] - 1

    @staticmethod
    def _pattern(found: Schema, out: Schema) -> None:
        """A pattern with words is a rule: the API server's own message would show the expression alone."""
        said = found.get("x-posetask-says")
        if said is None or out.get("x-kubernetes-int-or-string"):
            out["pattern"] = found["pattern"]
        else:
            out["x-kubernetes-validations"] = [rule(f"self.matches(r'{found['pattern']}')", said)]

    def _object(self, found: Schema, out: Schema, at: str) -> None:
        if "properties" in found:
            out["properties"] = properties = {}
            for name, field in found["properties"].items():
                converted = self.convert(field, f"{at}.{name}")
                if not converted.get("description"):
                    raise TypeError(f"{at}.{name}: no description")
                if "$ref" in field and name not in found.get("required", ()):
                    converted["default"] = {}  # the section's own fields have theirs
                properties[name] = converted
            if found.get("required"):
                out["required"] = list(found["required"])
            return
        if "maxProperties" not in out:
            raise TypeError(f"{at}: a map without max_length")
        if "patternProperties" in found:
            ((pattern, values),) = found["patternProperties"].items()
            cel = f"self.all(key, size(key) <= {_KEY_LIMIT} && key.matches(r'{pattern}'))"
            text = f"has a name that is not one: at most {_KEY_LIMIT} of a-z, 0-9 and _, with a letter first"
            out["x-kubernetes-validations"] = [rule(cel, text)]
        else:
            values = found["additionalProperties"]
        out["additionalProperties"] = self.convert(values, f"{at}{{}}")
