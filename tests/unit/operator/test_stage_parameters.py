from typing import Any

import pytest

from posetask.runtime.stagefactory import find_stage
from posetask_operator.core.parameters import built_in_schemas, check

MIXED = {
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "score": {"type": "number", "exclusiveMinimum": 0.0, "exclusiveMaximum": 1.0},
        "boxes": {"type": "boolean"},
        "mode": {"type": "string", "enum": ["fast", "exact"]},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 4},
        "nms": {"anyOf": [{"type": "number", "maximum": 1.0}, {"type": "null"}]},
        "curve": {"type": "array"},
    }
}


@pytest.mark.parametrize("stage", sorted(built_in_schemas()))
def test_the_committed_schemas_are_those_of_the_stages(stage: str) -> None:
    assert built_in_schemas()[stage] == find_stage(stage).Parameters.model_json_schema()


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"size": 3}, {"size": 3}),
        ({"size": "3"}, {"size": 3}),
        ({"score": "0.3"}, {"score": 0.3}),
        ({"boxes": "true"}, {"boxes": True}),
        ({"mode": "fast"}, {"mode": "fast"}),
        ({"nms": "0.5"}, {"nms": 0.5}),
    ],
)
def test_a_good_value_is_typed(given: dict[str, Any], typed: dict[str, Any]) -> None:
    assert check(MIXED, given) == (typed, [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 0}, "less than 1"),
        ({"size": 10}, "more than 9"),
        ({"size": "0.5"}, "no integer"),
        ({"score": 1}, "not less than 1"),
        ({"score": "0"}, "not more than 0"),
        ({"score": "nan"}, "not finite"),
        ({"score": "much"}, "no number"),
        ({"boxes": 1}, "neither"),
        ({"mode": "slow"}, "none of fast, exact"),
        ({"name": "A"}, "does not match"),
        ({"name": "abcde"}, "longer than 4"),
        ({"nms": "2"}, "more than 1"),
        ({"curve": "1,2"}, "cannot be given"),
        ({"colour": "red"}, "no such parameter"),
    ],
)
def test_a_bad_value_is_refused_in_words(given: dict[str, Any], said: str) -> None:
    values, problems = check(MIXED, given)
    assert values == {}
    assert len(problems) == 1
    assert said in problems[0]


def test_a_parameter_that_is_required_is_asked_for() -> None:
    assert check({"properties": {"path": {"type": "string"}}, "required": ["path"]}, {}) == (
        {},
        ["path: is required"],
    )


def test_without_a_schema_the_stage_itself_checks() -> None:
    assert check(None, {"anything": "goes"}) == ({"anything": "goes"}, [])
