"""compose.yaml against what the program really takes: there is no compose to ask on every machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from posetask.cli.main import VERBS, app
from posetask.runtime.service.client import read_directory
from posetask.runtime.service.settings import ServiceSettings
from posetask.runtime.stagefactory import find_stage
from posetask.stages.names import MODULES
from posetask.transport.kafka.settings import KafkaSettings

FILE = Path(__file__).parents[3] / "compose.yaml"
GIVEN = {"POSETASK_SERVICE_TOKEN": 32 * "x", "POSETASK_FILES": "/home/me/videos"}
TOP = {"name", "services", "volumes"}
OF_A_SERVICE = {
    *("image", "user", "restart", "stop_grace_period", "read_only", "cap_drop", "security_opt", "tmpfs"),
    *("depends_on", "volumes", "command", "entrypoint", "environment", "ports", "healthcheck", "profiles"),
    "working_dir",
}
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


def interpolated(text: str, given: dict[str, str]) -> str:
    """Variables as the compose specification fills them in: ``${A}``, ``${A:-else}``, ``${A:?needed}``."""

    def fill(found: re.Match[str]) -> str:
        name, how, rest = found.groups()
        if given.get(name):
            return given[name]
        assert how == ":-", f"{name} has no value, and no default"
        return str(rest)

    return _VARIABLE.sub(fill, text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolated(FILE.read_text(), GIVEN))
    return {name: value for name, value in found.items() if not name.startswith("x-")}


def parsed(verb: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """What the command line makes of the arguments and the environment."""
    command = VERBS[verb].load(verb)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return dict(command.make_context(verb, list(arguments)).params)


def test_only_keys_of_the_specification_stand_in_it(compose: dict[str, Any]) -> None:
    assert set(compose) == TOP
    for name, service in compose["services"].items():
        assert set(service) <= OF_A_SERVICE, name
        assert service["image"]
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source == GIVEN["POSETASK_FILES"]


def test_nothing_starts_without_a_token_and_a_folder() -> None:
    for missing in GIVEN:
        with pytest.raises(AssertionError, match=missing):
            interpolated(FILE.read_text(), {k: v for k, v in GIVEN.items() if k != missing})


@pytest.mark.parametrize("stage", MODULES)
def test_every_stage_is_started_as_the_program_understands_it(stage: str, compose: dict[str, Any]) -> None:
    service = compose["services"][stage]
    verb, name, *options = service["command"]
    environment = service["environment"]
    found = parsed(verb, [name, *options], environment)
    assert (verb, found["name"]) == ("service", stage)
    port = find_stage(stage).port
    settings = ServiceSettings.parse(
        stage=stage,
        listen=found["listen"],
        state=found["state"],
        files=found["files"],
        token=environment["POSETASK_SERVICE_TOKEN"],
    )
    assert (settings.host, settings.port) == ("0.0.0.0", port)  # noqa: S104 - inside its container
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"], "this machine alone reaches it"
    assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")
    kafka = {name: value for name, value in environment.items() if name.startswith("POSETASK_KAFKA")}
    assert KafkaSettings.from_environment(kafka).bootstrap == "kafka:9092"
    states = {s["environment"].get("POSETASK_SERVICE_STATE") for s in compose["services"].values()}
    assert len(states - {None}) == len(MODULES), "each has a folder of its own"


def test_an_unknown_option_would_be_seen() -> None:
    refused = CliRunner().invoke(app, ["service", "yolox", "--no-such-option"])
    assert (refused.exit_code, "--no-such-option" in refused.output) == (2, True)


def test_who_asks_knows_all_services(compose: dict[str, Any]) -> None:
    ask = compose["services"]["ask"]
    assert ask["entrypoint"] == ["posetask", "services"]
    directory = read_directory(ask["environment"]["POSETASK_SERVICES"])
    assert directory == {name: [f"http://{name}:{find_stage(name).port}"] for name in MODULES}
    assert parsed("services", ask["command"], {}) is not None


def test_the_broker_is_set_as_the_documents_say(compose: dict[str, Any]) -> None:
    said = compose["services"]["kafka"]["environment"]
    assert said["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert int(said["KAFKA_MESSAGE_MAX_BYTES"]) >= KafkaSettings().message_bytes
    assert int(said["KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS"]) <= 30_000
