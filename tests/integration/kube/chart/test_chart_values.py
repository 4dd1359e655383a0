"""The chart's values: refused where they are wrong, and read by the operator as they were meant."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from posetask.spec import BUILT_IN, PoseTask, PoseTaskSpec
from posetask.transport.kafka.settings import KafkaSettings
from posetask_operator.core.layout import Layout, resolve
from posetask_operator.settings import Settings, built_in_types

ROOT = Path(__file__).parents[4]
CHART = ROOT / "charts" / "posetask"
Object = dict[str, Any]
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def settings_of(objects: list[Object], tmp_path: Path) -> Settings:
    (text,) = [o["data"]["settings.yaml"] for o in objects if "settings.yaml" in (o.get("data") or {})]
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return Settings.load(file)


def test_the_generated_files_are_fresh() -> None:
    script = ROOT / "scripts" / "generate-chart"
    said = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert said.stdout == "chart: up to date\n", said.stdout + said.stderr


def test_helm_lint_finds_nothing(helm: Any, values: str, request: pytest.FixtureRequest) -> None:
    files = {"dev": ("dev",), "dev-gpu": ("dev", "gpu"), "prod": ("prod",), "prod-gpu": ("prod", "gpu")}[
        values
    ]
    given = [word for name in files for word in ("-f", CHART / f"values-{name}.yaml")]
    said = helm("lint", CHART, "--strict", *given)
    assert "1 chart(s) linted, 0 chart(s) failed" in said.stdout, said.stdout + said.stderr
    assert "[WARNING]" not in said.stdout
    assert "[ERROR]" not in said.stdout


def test_the_operator_reads_its_settings(rendered: Any, values: str, tmp_path: Path) -> None:
    settings = settings_of(rendered(values), tmp_path)
    assert settings.namespace == "posetask-system"
    assert settings.installation == ("prod" if "prod" in values else "main")
    assert settings.default_profile == ("gpu" if "gpu" in values else "default")


def test_the_catalogue_is_the_operators_own_where_nothing_is_said(rendered: Any, tmp_path: Path) -> None:
    plain = ("--set", "kafka.bootstrap=kafka:9092,storage.root=s3://results")
    settings = settings_of(rendered(None, *plain), tmp_path)
    assert settings.catalogue == built_in_types("posetask/stage:0.1.0")


def test_the_demo_fits_on_two_cores_of_a_development_installation(rendered: Any, tmp_path: Path) -> None:
    objects = rendered("dev")
    settings = settings_of(objects, tmp_path)
    asked = [settings.catalogue[name].resources.requests["cpu"] for name in BUILT_IN]
    for one in objects:
        if one["kind"] in {"Deployment", "StatefulSet"}:
            spec = one["spec"]["template"]["spec"]
            asked += [c["resources"]["requests"]["cpu"] for c in spec["containers"]]
    assert all(text.endswith("m") for text in asked)
    assert sum(int(text.removesuffix("m")) for text in asked) <= 1500


def test_gpu_stages_take_their_image_and_keep_the_rest(rendered: Any, tmp_path: Path) -> None:
    settings = settings_of(rendered("prod-gpu"), tmp_path)
    on_gpus = {"yolox", "rtmpose", "fused"}
    for name, kind in settings.catalogue.items():
        repository = "stage-gpu" if name in on_gpus else "stage"
        assert kind.image == f"registry.example.com/posetask/{repository}:0.1.0"
    assert set(settings.catalogue) == set(built_in_types("any"))
    assert settings.catalogue["yolox"].scalable
    assert settings.catalogue["yolox"].resources.limits == {"memory": "6Gi"}
    assert settings.profiles["gpu"].accelerator == "nvidia.com/gpu"
    assert settings.profiles["gpu"].tolerations[0].key == "nvidia.com/gpu"


def test_the_demo_would_be_admitted_by_a_development_installation(rendered: Any, tmp_path: Path) -> None:
    settings = settings_of(rendered("dev"), tmp_path)
    demo = PoseTask.read(yaml.safe_load((ROOT / "examples" / "01-demo.yaml").read_text()))
    layout = resolve(demo.spec, "default", settings)
    assert isinstance(layout, Layout), layout
    assert layout.secrets == {"posetask-storage-dev"}
    assert not isinstance(resolve(demo.spec, "elsewhere", settings), Layout)


def test_a_namespace_may_reach_what_it_was_given_and_no_more(rendered: Any, tmp_path: Path) -> None:
    settings = settings_of(rendered("prod"), tmp_path)
    lobby, sport = (settings.storage.grant(f"vision-{name}") for name in ("lobby", "sport"))
    assert lobby is not None
    assert sport is not None
    assert "s3://videos/lobby/" in lobby.sources
    assert "s3://videos/lobby/" not in sport.sources
    assert (lobby.max_tasks, sport.max_tasks) == (20, None)
    assert settings.storage.grant("default") is None


def test_a_stage_of_ones_own_is_in_the_catalogue(rendered: Any, tmp_path: Path) -> None:
    own = {"image": "registry.example.com/faces@sha256:1", "port": 8200, "inputs": ["raw_frames"]}
    own |= {"output": "faces", "takesModel": True, "secrets": [{"name": "faces-key", "mount": "/keys"}]}
    objects = rendered("dev", "--set-json", f"stageCatalogue.faces={json.dumps(own)}")
    faces = settings_of(objects, tmp_path).catalogue["faces"]
    assert (faces.port, faces.output, faces.takes_model) == (8200, "faces", True)
    assert faces.secrets[0].mount == "/keys"
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["namespace"] == "default"]
    names = [n for r in roles for rule in r["rules"] for n in rule.get("resourceNames", ())]
    assert names == ["faces-key", "posetask-storage-dev"]


def test_other_settings_are_other_pods(rendered: Any) -> None:
    def mark(*more: str) -> str:
        (found,) = [
            o
            for o in rendered("dev", *more)
            if o["kind"] == "Deployment" and o["metadata"]["name"] == "posetask-operator"
        ]
        return str(found["spec"]["template"]["metadata"]["annotations"]["posetask.io/settings"])

    assert mark() == mark()
    assert mark() != mark("--set", "operator.requeues=7")


def test_the_operators_variables_are_ones_that_its_client_knows(rendered: Any) -> None:
    (pod,) = [
        o["spec"]["template"]["spec"]
        for o in rendered("prod", "--set", "kafka.settings.CONNECT_TIMEOUT_MS=5000")
        if o["kind"] == "Deployment"
    ]
    given = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    assert given.pop("POSETASK_KAFKA_SECRETS") == "/var/run/secrets/posetask/kafka"
    known = KafkaSettings.from_environment(
        given | {"POSETASK_KAFKA_USERNAME": "u", "POSETASK_KAFKA_PASSWORD": "p"}
    )
    assert (known.security, known.mechanism, known.connect_timeout_ms) == ("sasl_ssl", "SCRAM-SHA-512", 5000)
    assert pod["enableServiceLinks"] is False


API = ("--set", "api.enabled=true,api.tokenSecret=posetask-api,api.publicUrl=https://poses.example.com")


def test_the_api_knows_every_variable_that_the_chart_sets(rendered: Any) -> None:
    from posetask_api.__main__ import _KNOWN, _spec

    (pod,) = [
        one["spec"]["template"]["spec"]
        for one in rendered("dev", *API)
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "posetask-api"
    ]
    given = {e["name"].removeprefix("POSETASK_API_"): e["value"] for e in pod["containers"][0]["env"]}
    assert set(given) <= _KNOWN
    assert (given["LISTEN"], given["NAMESPACE"], given["ROOT"]) == (
        "0.0.0.0:8000",
        "default",
        "s3://posetask",
    )
    assert given["MAX_UPLOAD_BYTES"] == "8589934592"
    spec = _spec(given["SPEC"]) | {"source": {"uri": "s3://posetask/default/uploads/task-1/a.mp4"}}
    assert PoseTaskSpec.model_validate(spec).stages[0].model == "demo"


def test_an_upload_may_be_read_in_the_namespace_of_the_api_alone(rendered: Any, tmp_path: Path) -> None:
    namespaces = '[{"name":"default","sources":["s3://videos/"]},{"name":"other"}]'
    objects = rendered("dev", *API, "--set-json", f"taskNamespaces={namespaces}")
    settings = settings_of(objects, tmp_path)
    default, other = settings.storage.grant("default"), settings.storage.grant("other")
    assert default is not None
    assert other is not None
    assert default.sources == ("s3://videos/", "s3://posetask/default/uploads/")
    assert other.sources == ()


def closed(schema: Object, at: str = "") -> Iterator[str]:
    """Paths of all objects that name what may stand in them."""
    if "$ref" in schema:
        return
    if schema.get("additionalProperties") is False:
        yield at
        for name, field in schema["properties"].items():
            yield from closed(field, f"{at}.{name}" if at else name)


def test_a_key_that_is_not_there_is_refused_everywhere(template: Any) -> None:
    places = [
        *closed(SCHEMA),
        "taskNamespaces[0]",
        "profiles.default",
        "stageCatalogue.yolox",
        "stageCatalogue.yolox.resources",
        "operator.timings",
    ]
    assert len(places) >= 30
    said = template("dev", *(word for at in places for word in ("--set", f"{at}.typo=1".lstrip("."))))
    assert said.returncode != 0
    for at in places:
        path = "/" + at.replace("[", "/").replace("]", "").replace(".", "/") if at else ""
        assert f"at '{path}': additional properties 'typo' not allowed" in said.stderr, at


def written(schema: Object, at: str = "") -> Iterator[tuple[str, Object]]:
    for name, field in schema.get("properties", {}).items():
        here = f"{at}.{name}" if at else name
        yield here, field
        yield from written(field.get("items", field), here)


def test_every_value_has_words() -> None:
    assert [
        at for at, field in written(SCHEMA) if ".resources." not in at and not field.get("description")
    ] == []


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no-brokers": (("--set", "storage.root=s3://b"), "kafka: say where the brokers are"),
    "no-store": (("--set", "kafka.bootstrap=k:9092"), "storage: say where results go"),
    "two-brokers": (
        ("--set", "kafka.bootstrap=k:9092,kafka.dev.enabled=true"),
        "bootstrap and dev.enabled exclude each other",
    ),
    "no-password": (
        ("--set", "kafka.bootstrap=k:9092,kafka.security=sasl_ssl,storage.root=s3://b"),
        "needs existingSecret",
    ),
    "no-such-profile": (
        ("--set", "kafka.dev.enabled=true,storage.dev.enabled=true,defaultProfile=gpu"),
        "defaultProfile: gpu is none of profiles: default",
    ),
    "nowhere-to-look": (
        (
            "--set",
            "kafka.dev.enabled=true,storage.dev.enabled=true,rbac.scope=namespaced",
            "--set-json",
            "taskNamespaces=[]",
        ),
        "namespaced needs taskNamespaces",
    ),
    "a-namespace-twice": (
        (
            "--set",
            "kafka.dev.enabled=true,storage.dev.enabled=true",
            "--set-json",
            'taskNamespaces=[{"name":"a"},{"name":"a"}]',
        ),
        "a stands there twice",
    ),
    "an-api-without-a-token": (
        ("--set", "kafka.dev.enabled=true,storage.dev.enabled=true,api.enabled=true"),
        "api: tokenSecret is missing",
    ),
    "an-api-that-knows-the-source": (
        ("--set", "kafka.dev.enabled=true,storage.dev.enabled=true,api.spec.source.uri=synth:x"),
        "at '/api/spec': 'not' failed",
    ),
    "a-stage-without-an-image": (
        ("--set", "kafka.dev.enabled=true,storage.dev.enabled=true,stageCatalogue.faces.port=8200"),
        "stageCatalogue.faces: a type of your own needs image and port",
    ),
    "a-password-among-the-settings": (
        ("--set", "kafka.dev.enabled=true,storage.dev.enabled=true,kafka.settings.PASSWORD=x"),
        "kafka.settings.PASSWORD belongs into a Secret",
    ),
    "a-lease-that-nobody-can-keep": (
        ("--set", "kafka.dev.enabled=true,storage.dev.enabled=true,operator.lease.renewBy=15"),
        "retry 2, renewBy 15 and duration 15 must each be less than the next",
    ),
    "a-time-out-of-bounds": (("--set", "operator.timings.podGrace=0"), "minimum: got 0, want 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_before_anything_is_made(template: Callable[..., Any], name: str) -> None:
    more, words = WRONG[name]
    said = template(None, *more)
    assert said.returncode != 0
    assert words in said.stderr
