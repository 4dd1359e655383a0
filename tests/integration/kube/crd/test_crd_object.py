"""The object as a whole: names, defaults, the status apart, columns, selectors and the words of explain."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubelib.api import Refused
from posetask.spec import API_VERSION, PLURAL, PoseTask, PoseTaskSpec
from posetask.spec.crd import SELECTABLE, root_schema

Object = dict[str, Any]
Kubectl = Callable[..., subprocess.CompletedProcess[str]]
SOURCE: Object = {"source": {"uri": "synth:people=2,frames=50"}}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a", None),
        ("lobby-cam-3", None),
        ("0-begins-with-a-digit", None),
        ("a" * 40, None),
        ("a" * 41, "metadata.name has at most 40"),
        ("lobby.cam", "no dots"),
        ("Lobby", "lowercase RFC 1123"),
        ("lobby_cam", "lowercase RFC 1123"),
    ],
)
def test_a_name_can_stand_in_topics_and_jobs(
    api: Any, task: Callable[..., Object], name: str, words: str | None
) -> None:
    where = api.path(API_VERSION, PLURAL, "schema")
    if words is None:
        assert (
            api.call("POST", where, task(SOURCE, name), query={"dryRun": "All"})["metadata"]["name"] == name
        )
        return
    with pytest.raises(Refused, match=words):
        api.call("POST", where, task(SOURCE, name), query={"dryRun": "All"})


def test_a_generated_name_is_measured_too(api: Any, task: Callable[..., Object]) -> None:
    where = api.path(API_VERSION, PLURAL, "schema")
    whole = task(SOURCE)
    whole["metadata"] = {"namespace": "schema", "generateName": "a" * 35}
    made = api.call("POST", where, whole, query={"dryRun": "All"})
    assert made["metadata"]["name"].startswith("a" * 35)
    whole["metadata"]["generateName"] = "a" * 36
    with pytest.raises(Refused, match="at most 40"):
        api.call("POST", where, whole, query={"dryRun": "All"})


def test_the_server_fills_in_the_defaults_of_the_models(api: Any, task: Callable[..., Object]) -> None:
    stages = {"stages": [{"name": "yolox", "accelerator": {}}]}
    made = api.create(PLURAL, "schema", task(SOURCE | stages))
    wanted = PoseTaskSpec.model_validate(SOURCE | stages).wire()
    wanted["stages"][0].pop("parameters")  # an empty map, which says as much as none
    assert made["spec"] == wanted
    assert made["metadata"]["generation"] == 1


def test_the_status_is_written_through_its_own_door(api: Any, task: Callable[..., Object]) -> None:
    whole = task(SOURCE) | {"status": {"state": "Succeeded"}}
    made = api.create(PLURAL, "schema", whole)
    assert "status" not in made
    name = made["metadata"]["name"]
    after = api.patch(API_VERSION, PLURAL, "schema", name, {"status": {"state": "Succeeded"}})
    assert "status" not in after
    said = api.patch(
        API_VERSION,
        PLURAL,
        "schema",
        name,
        {"status": {"state": "Running", "run": f"{name}-0a1b2c3d"}, "spec": {"suspend": True}},
        subresource="status",
    )
    assert said["status"]["state"] == "Running"
    assert said["spec"]["suspend"] is False
    assert PoseTask.read(said).status.run == f"{name}-0a1b2c3d"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"state": "Sleeping"}, "Unsupported value"),
        ({"progress": {"percent": 101}}, "less than or equal to 100"),
        ({"message": "x" * 4097}, "may not be more than 4096"),
        ({"conditions": [{"type": "Admitted", "status": "Maybe"}]}, "Unsupported value"),
        ({"conditions": [{"type": "Admitted", "status": "True"}]}, "Required value"),
    ],
)
def test_a_status_that_is_none_is_refused(
    api: Any, task: Callable[..., Object], status: Object, words: str
) -> None:
    name = api.create(PLURAL, "schema", task(SOURCE))["metadata"]["name"]
    with pytest.raises(Refused, match=words):
        api.patch(API_VERSION, PLURAL, "schema", name, {"status": status}, subresource="status")


@pytest.fixture
def seen(api: Any, task: Callable[..., Object]) -> Iterator[str]:
    """A task with a status of every column."""
    name = api.create(PLURAL, "schema", task(SOURCE))["metadata"]["name"]
    status = {
        "observedGeneration": 1,  # kubectl waits for a status that speaks of the specification as it is
        "run": f"{name}-0a1b2c3d",
        "state": "Running",
        "reason": "AllReady",
        "message": "every stage is ready",
        "ready": "5/5",
        "restarts": 1,
        "queue": {"position": 3},
        "progress": {"summary": "85%", "fps": "24.8"},
        "conditions": [
            {
                "type": "Succeeded",
                "status": "True",
                "reason": "Completed",
                "message": "",
                "lastTransitionTime": "2026-01-31T12:00:00Z",
            }
        ],
    }
    api.patch(API_VERSION, PLURAL, "schema", name, {"status": status}, subresource="status")
    yield name
    api.delete(API_VERSION, PLURAL, "schema", name, policy="Background")


def test_get_shows_how_far_a_task_is(kubectl: Kubectl, seen: str) -> None:
    lines = kubectl("get", "pt", seen, "-n", "schema").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "PROGRESS", "READY", "FPS", "AGE"]
    assert lines[1].split()[:5] == [seen, "Running", "85%", "5/5", "24.8"]


def test_get_wide_shows_why(kubectl: Kubectl, seen: str) -> None:
    lines = kubectl("get", "posetask", seen, "-n", "schema", "-o", "wide").stdout.splitlines()
    assert lines[0].split()[6:] == ["QUEUE", "RESTARTS", "REASON", "MESSAGE"]
    assert lines[1].split()[6:] == ["3", "1", "AllReady", "every", "stage", "is", "ready"]


def test_wait_sees_the_condition(kubectl: Kubectl, seen: str) -> None:
    said = kubectl("wait", "--for=condition=Succeeded", f"pt/{seen}", "-n", "schema", "--timeout=5s")
    assert said.stdout.strip() == f"posetask.posetask.io/{seen} condition met"


def test_a_task_is_among_all_of_a_namespace(kubectl: Kubectl, seen: str) -> None:
    assert f"posetask.posetask.io/{seen}" in kubectl("get", "all", "-n", "schema").stdout


@pytest.mark.parametrize("path", SELECTABLE)
def test_a_field_selects(kubectl: Kubectl, seen: str, path: str) -> None:
    said = json.loads(kubectl("get", "pt", seen, "-n", "schema", "-o", "json").stdout)
    value: Any = said
    for name in path.strip(".").split("."):
        value = value.get(name, "")

    def found(wanted: str) -> str:
        out = kubectl("get", "pt", "-n", "schema", "-o", "name", f"--field-selector={path[1:]}={wanted}")
        assert out.returncode == 0, out.stderr
        return out.stdout

    assert seen in found(value)
    assert seen not in found("elsewhere")


def fields(schema: Object, at: str) -> Iterator[tuple[str, str]]:
    for name, field in schema.get("properties", {}).items():
        here = f"{at}.{name}"
        if name != "metadata":
            yield here, field["description"]
            yield from fields(field.get("items", field), here)


def test_explain_has_the_words_of_every_field(kubectl: Kubectl, api: Any) -> None:
    said = " ".join(kubectl("explain", "pt", "--recursive").stdout.split())
    missing = [path for path, _ in fields(root_schema(), "pt") if f"{path.rpartition('.')[2]} <" not in said]
    assert not missing
    for section in ("pt.spec", "pt.spec.source", "pt.spec.stages", "pt.status", "pt.status.progress"):
        text = " ".join(kubectl("explain", section).stdout.split())
        schema = root_schema()
        for name in section.split(".")[1:]:
            schema = schema["properties"][name]
        for name, field in schema.get("items", schema)["properties"].items():
            assert field["description"].split(".")[0] in text, f"{section}.{name}"
