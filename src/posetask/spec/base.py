"""What the models of a PoseTask share: wire names, strictness, and markers for the CRD generator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    Strict,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

GROUP: Final = "posetask.io"
VERSION: Final = "v1alpha1"
KIND: Final = "PoseTask"
PLURAL: Final = "posetasks"
API_VERSION: Final = f"{GROUP}/{VERSION}"

NAME_LIMIT: Final = 40
"""Longest name of a PoseTask: the run's id, and with it Jobs and topics, begin with it."""

MUTABLE: Final[dict[str, Any]] = {"x-posetask-mutable": True}
"""``json_schema_extra`` of a field that may change during the life of a task; all others may not."""

ONE_WAY: Final[dict[str, Any]] = {"x-posetask-mutable": "one-way"}
"""``json_schema_extra`` of a switch that may be turned on, and never off again."""

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]


def says(message: str) -> dict[str, Any]:
    """``json_schema_extra`` of a field with a pattern: in which words the API server refuses a value."""
    return {"x-posetask-says": message}


def keyed_by(name: str) -> dict[str, Any]:
    """``json_schema_extra`` of a list whose items are known by one of their fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [name]}


AS_SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
"""``json_schema_extra`` of a list without doubles, whose order says nothing."""


def _instant(value: object) -> object:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its offset from UTC")
        return value.astimezone(UTC).replace(microsecond=0)
    raise ValueError("a time is a text such as 2026-01-31T12:00:00Z")


def rfc3339(value: datetime) -> str:
    """A time as Kubernetes writes it.

    >>> rfc3339(datetime(2026, 1, 31, 12, tzinfo=UTC))
    '2026-01-31T12:00:00Z'
    """
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(rfc3339, when_used="always"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment in UTC, to the second; text of RFC 3339 on the wire."""


class Part(BaseModel):
    """Base of the models: camel case on the wire, snake case in Python, never changed in place."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    @model_validator(mode="after")
    def _no_doubles(self) -> Self:
        """A list that is a set, or is keyed by a field, says nothing twice; so the API server has it."""
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if not isinstance(extra, dict) or "x-kubernetes-list-type" not in extra:
                continue
            keys = extra.get("x-kubernetes-list-map-keys")
            items = getattr(self, name) or ()
            said = [getattr(item, str(keys[0])) if isinstance(keys, list) else item for item in items]
            twice = sorted({str(one) for one in said if said.count(one) > 1})
            if twice:
                raise ValueError(f"{field.alias or name} has {', '.join(twice)} twice")
        return self

    def wire(self) -> dict[str, Any]:
        """As it stands in the object: camel case, times as text, without what is not said."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
