"""The generator: what the API server takes, what it is spared, and that the files in the tree are its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from posetask.spec import PoseTaskSpec, PoseTaskStatus, crd
from posetask.spec.structural import immutable, structural, transition_rules

ROOT = Path(__file__).parents[3]
Object = dict[str, Any]


def nodes(schema: Object, at: str = "") -> Iterator[tuple[str, Object]]:
    yield at, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{at}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{at}[]")


ALL = [(at, node) for at, node in nodes(crd.root_schema()) if at != ".metadata"]


def test_the_files_are_what_the_generator_writes() -> None:
    said = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate-crds", "--check"], capture_output=True, text=True
    )
    assert said.stdout == "crds: up to date\n", said.stdout + said.stderr
    assert said.returncode == 0


def test_the_manifest_is_plain_yaml_that_reads_back_the_same() -> None:
    assert yaml.safe_load(crd.text()) == crd.custom_resource_definition()
    assert "&id" not in crd.text()


@pytest.mark.parametrize("word", ["$ref", "$defs", "title", "const", "exclusiveMinimum", "exclusiveMaximum"])
def test_no_word_is_left_that_the_api_server_refuses(word: str) -> None:
    assert [at for at, node in ALL if word in node] == []


def test_every_field_has_words_and_a_type() -> None:
    assert [at for at, node in ALL if not at.endswith("[]") and not node.get("description")] == []
    assert [at for at, node in ALL if "type" not in node and "x-kubernetes-int-or-string" not in node] == []


def test_nothing_in_it_can_grow_without_end() -> None:
    free = [
        at
        for at, node in ALL
        if (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
        or (node.get("type") == "string" and not {"maxLength", "enum", "format"} & set(node))
    ]
    assert free == [".apiVersion", ".kind"]  # the API server's own


def test_what_a_person_writes_has_no_fractions() -> None:
    assert [at for at, node in nodes(crd.spec_schema()) if node.get("type") == "number"] == []


def test_no_placement_and_no_image_can_be_asked_for() -> None:
    names = {at.rpartition(".")[2].lower() for at, _ in nodes(crd.spec_schema())}
    forbidden = {"image", "namespace", "serviceaccount", "serviceaccountname", "nodeselector", "template"}
    assert not names & forbidden


def test_each_field_that_may_not_change_has_its_rule() -> None:
    paths = {one["fieldPath"] for one in transition_rules(PoseTaskSpec)}
    assert paths == {"." + ".".join(path) for path in immutable(PoseTaskSpec)} | {".cancel"}
    assert ".source.sampling.everyN" in paths
    assert ".scheduling.priority" not in paths


def test_a_status_has_no_rules_of_change() -> None:
    assert [at for at, n in nodes(structural(PoseTaskStatus)) if "x-kubernetes-validations" in n] == []


class _Bounds(BaseModel):
    share: int = Field(1, gt=0, lt=10, description="between")
    kind: Literal["one"] = Field("one", description="always")


def test_bounds_that_exclude_their_value_are_said_as_the_api_server_has_them() -> None:
    fields = structural(_Bounds)["properties"]
    assert (fields["share"]["minimum"], fields["share"]["maximum"]) == (1, 9)
    assert fields["kind"]["enum"] == ["one"]


class _Text(BaseModel):
    name: str = Field(description="free")


class _List(BaseModel):
    names: list[Annotated[str, Field(max_length=3)]] = Field(description="free")


class _Map(BaseModel):
    names: dict[str, int] = Field(description="free")


class _Silent(BaseModel):
    count: int = 0


class _Choice(BaseModel):
    either: int | bool = Field(0, description="one of two")


class _Anything(BaseModel):
    what: Any = Field(description="anything")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_Text, "_Text.name: a text without max_length"),
        (_List, "_List.names: a list without max_length"),
        (_Map, "_Map.names: a map without max_length"),
        (_Silent, "_Silent.count: no description"),
        (_Choice, "_Choice.either: a choice between types"),
        (_Anything, "_Anything.what: no type"),
    ],
)
def test_a_model_that_the_api_server_would_refuse_is_refused_here(model: type[BaseModel], words: str) -> None:
    with pytest.raises(TypeError, match=words.replace(".", r"\.")):
        structural(model)
