"""The tables of the documentation."""

from __future__ import annotations

import pytest

from posetask.spec import Reason, crd, reference
from posetask.spec.structural import structural
from posetask.spec.task import PoseTaskSpec


def test_a_table_has_every_field_its_type_and_its_default() -> None:
    table = reference.fields(structural(PoseTaskSpec), crd.changeable())
    assert "| `source.uri` | text | **required** |" in table
    assert "| `output.formats` | list of `mp4`, `parquet`, `coco`, `mot`, `jsonl` | `mp4, parquet` |" in table
    assert "| `stages[].parameters` | map of integer or text |  |" in table
    assert "| `suspend` | boolean | `false` |" in table


def test_a_table_says_what_may_be_changed_later() -> None:
    rows = reference.fields(structural(PoseTaskSpec), crd.changeable()).splitlines()
    changing = {row.split("`")[1] for row in rows if "*May be changed later.*" in row}
    assert changing == set(crd.changeable())
    assert "scheduling.priority" in changing


def test_every_reason_has_its_row() -> None:
    table = reference.reasons()
    assert [reason for reason in Reason if f"| `{reason}` |" not in table] == []


def test_a_parameter_is_shown_with_its_bounds() -> None:
    schema = {
        "properties": {
            "score": {
                "type": "number",
                "minimum": 0.1,
                "maximum": 0.99,
                "default": 0.3,
                "description": "a|b",
            },
            "model": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "name"},
            "count": {"type": "integer", "exclusiveMinimum": 0, "description": "how many"},
        }
    }
    assert reference.parameters({"own": schema}).splitlines()[2:] == [
        "| own | `score` | fraction, 0.1 to 0.99 | `0.3` | a\\|b |",
        "| own | `model` | text |  | name |",
        "| own | `count` | integer, above 0 |  | how many |",
    ]


@pytest.mark.parametrize("page", ["no place", "<!-- generated: other -->\n<!-- end of generated -->"])
def test_a_page_without_the_place_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page has places for"):
        reference.fill(page, {"spec": "new"})
