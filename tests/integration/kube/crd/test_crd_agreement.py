"""The API server and the models judge specifications alike: sampled from the schema, then spoiled."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kubelib.api import Refused
from posetask.errors import InvalidParameters
from posetask.spec import API_VERSION, PLURAL, PoseTask, PoseTaskSpec
from posetask.spec.crd import spec_schema

Object = dict[str, Any]
SCHEMA = spec_schema()
_MATCHES = re.compile(r"self\.matches\(r'(.*)'\)")


def texts(field: Object) -> st.SearchStrategy[str]:
    rules = [one["rule"] for one in field.get("x-kubernetes-validations", ())]
    patterns = [found[1] for found in map(_MATCHES.fullmatch, rules) if found]
    pattern = next(iter(patterns), field.get("pattern"))
    if pattern is None:
        return st.text(max_size=12)
    return st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= field["maxLength"])


def good(field: Object) -> st.SearchStrategy[Any]:
    """Values that the schema takes; the rules between fields may still refuse them."""
    if field.get("x-kubernetes-int-or-string"):
        return st.integers(field["minimum"], field["maximum"]) | texts(field)
    kind = field["type"]
    if "enum" in field:
        return st.sampled_from(field["enum"])
    if kind == "integer":
        least, most = field["minimum"], field["maximum"]
        return st.sampled_from([least, most]) | st.integers(least, most)
    if kind == "boolean":
        return st.booleans()
    if kind == "string":
        return texts(field)
    if kind == "array":
        key = field.get("x-kubernetes-list-map-keys", [None])[0]
        return st.lists(
            good(field["items"]),
            min_size=field.get("minItems", 0),
            max_size=3,
            unique_by=(lambda item: item[key]) if key else None,
            unique=key is None,
        )
    if "additionalProperties" in field:
        names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
        return st.dictionaries(names, good(field["additionalProperties"]), max_size=3)
    required = {name: good(field["properties"][name]) for name in field.get("required", ())}
    optional = {name: good(f) for name, f in field["properties"].items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def bad(field: Object) -> st.SearchStrategy[Any]:
    """Values at and past the bounds, and of other kinds."""
    if field.get("x-kubernetes-int-or-string"):
        past = [field["minimum"] - 1, field["maximum"] + 1, "x" * (field["maxLength"] + 1), True, 0.5, "4 Gi"]
        return st.sampled_from(past)
    kind = field["type"]
    if "enum" in field:
        return st.sampled_from([field["enum"][0].swapcase(), "", 1])
    if kind == "integer":
        return st.sampled_from([field["minimum"] - 1, field["maximum"] + 1, "1", 0.5, True])
    if kind == "boolean":
        return st.sampled_from(["true", 1, "yes"])
    if kind == "string":
        return st.sampled_from(["", "x" * (field["maxLength"] + 1), "A B", "-", "file:///etc/passwd", 1]) | (
            st.text(max_size=5)
        )
    if kind == "array":
        return st.lists(good(field["items"]), min_size=field["maxItems"] + 1, max_size=field["maxItems"] + 2)
    if "additionalProperties" in field:
        return st.sampled_from([{"Score": 1}, {"a" * 65: 1}, {"": 1}, {f"p{n}": n for n in range(33)}, []])
    return st.sampled_from([[], "text", {"noSuchField": 1}])


@st.composite
def specifications(draw: st.DrawFn) -> Object:
    spec: Object = draw(good(SCHEMA))
    spec.setdefault("stages", draw(st.just([]) | good(SCHEMA["properties"]["stages"])))
    if draw(st.booleans()):  # names of built-in stages, which rules speak of
        known = draw(st.lists(st.sampled_from(["producer", "yolox", "rtmpose", "annotator"]), unique=True))
        replicas = st.sampled_from([1, 1, 2])
        for name in known:
            spec["stages"].append({"name": name, "replicas": draw(replicas), "required": draw(st.booleans())})
    for _ in range(draw(st.sampled_from([0, 1]))):
        spoil(draw, spec, SCHEMA)
    return spec


def spoil(draw: st.DrawFn, node: Object, schema: Object) -> None:
    """Somewhere below ``node``, one value that may be wrong."""
    name = draw(st.sampled_from(sorted(schema["properties"])))
    field = schema["properties"][name]
    value = node.get(name)
    inner = field.get("items", field)
    if "properties" in inner and draw(st.sampled_from([True, True, False])):
        if isinstance(value, list) and value:
            spoil(draw, value[0], inner)
            return
        if isinstance(value, dict):
            spoil(draw, value, inner)
            return
    node[name] = draw(bad(field))


def of_models(whole: Object) -> PoseTaskSpec | str:
    try:
        return PoseTask.read(whole).spec
    except InvalidParameters as error:
        return str(error)


def dry_run(api: Any, where: str, whole: Object) -> tuple[bool, Any]:
    try:
        return True, api.call("POST", where, whole, query={"dryRun": "All", "fieldValidation": "Strict"})
    except Refused as refused:
        if refused.code not in {400, 422}:
            raise
        return False, str(refused)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(spec=specifications())
def test_the_api_server_and_the_models_judge_alike(
    api: Any, task: Callable[..., Object], spec: Object
) -> None:
    whole = task(spec)
    ours = of_models(copy.deepcopy(whole))
    where = api.path(API_VERSION, PLURAL, "schema")
    taken, said = dry_run(api, where, whole)
    event("taken" if taken else "refused")
    if not taken:
        assert isinstance(ours, str), f"the server refuses what the models take: {said}"
        return
    assert not isinstance(ours, str), f"the server takes what the models refuse: {ours}"
    assert PoseTaskSpec.model_validate(said["spec"]) == ours


RULES: dict[str, tuple[Object, str]] = {
    "a-stage-of-one-replica": (
        {"stages": [{"name": "bytetrack", "replicas": 2}]},
        "spec.stages: Invalid value: producer, bytetrack, annotator run in one replica",
    ),
    "a-built-in-stage-is-required": (
        {"stages": [{"name": "yolox", "required": False}]},
        "spec.stages: Invalid value: the built-in stages are always required",
    ),
    "fused-has-one-of-each": (
        {"execution": {"mode": "Fused"}, "stages": [{"name": "yolox", "replicas": 2}]},
        "Fused runs every stage once",
    ),
    "a-rendered-world-is-not-live": (
        {"source": {"uri": "synth:people=2", "live": True}},
        "a synth: source is rendered anew",
    ),
    "a-file-is-no-source": ({"source": {"uri": "file:///etc/passwd"}}, "posetask run FILE"),
    "a-stage-twice": ({"stages": [{"name": "faces"}, {"name": "faces"}]}, "Duplicate value"),
    "a-format-twice": ({"output": {"formats": ["mp4", "mp4"]}}, "Duplicate value"),
    "an-image-is-not-ours-to-give": (
        {"stages": [{"name": "faces", "image": "evil:latest"}]},
        'unknown field "spec.stages[0].image"',
    ),
    "a-fraction": ({"retries": 0.5}, "must be of type integer"),
    "no-source": ({"source": None}, "spec.source: Required value"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_is_said_in_words_by_the_server_and_by_the_models(
    api: Any, task: Callable[..., Object], name: str
) -> None:
    spec, words = RULES[name]
    whole = task({"source": {"uri": "s3://videos/a.mp4"}} | spec)
    where = api.path(API_VERSION, PLURAL, "schema")
    with pytest.raises(Refused) as refused:
        api.call("POST", where, whole, query={"dryRun": "All", "fieldValidation": "Strict"})
    assert words in str(refused.value)
    assert isinstance(of_models(whole), str)
