"""Settings: whole or refused by name, secrets never shown, the documented table is the code's."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetask.errors import InvalidParameters
from posetask.transport.kafka.keys import KEYS
from posetask.transport.kafka.settings import KafkaSettings, settings_table

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
SECRET = "correct-horse"  # noqa: S105


def environment(**more: str) -> dict[str, str]:
    return {f"POSETASK_KAFKA_{name}": value for name, value in more.items()} | {"PATH": "/bin"}


def test_without_anything_it_is_a_broker_on_this_machine() -> None:
    settings = KafkaSettings.from_environment({})
    assert settings.bootstrap == "127.0.0.1:9092"
    assert settings.producer()["security.protocol"] == "plaintext"


def test_sasl_over_tls_from_the_environment() -> None:
    settings = KafkaSettings.from_environment(
        environment(
            SECURITY="sasl_ssl", USERNAME="u", PASSWORD=SECRET, TLS_CA=PEM, DELIVERY_TIMEOUT_MS="30000"
        )
    )
    producer = settings.producer()
    assert producer["sasl.password"] == SECRET
    assert producer["sasl.mechanism"] == "SCRAM-SHA-512"
    assert producer["ssl.ca.pem"] == PEM
    assert producer["message.timeout.ms"] == 30_000
    assert settings.admin().items() >= {("sasl.username", "u"), ("security.protocol", "sasl_ssl")}


def test_a_mounted_secret_gives_files_and_the_environment_wins(tmp_path: Path) -> None:
    for name, text in {
        "ca.crt": PEM,
        "user.crt": PEM,
        "user.key": "-----BEGIN PRIVATE KEY-----\nK",
        "password": SECRET,
    }.items():
        (tmp_path / name).write_text(text + "\n")
    settings = KafkaSettings.from_environment(
        environment(SECRETS=str(tmp_path), SECURITY="ssl", TLS_CA=str(tmp_path / "ca.crt"))
    )
    configuration = settings.consumer("g")
    assert configuration["ssl.certificate.pem"] == PEM
    assert configuration["ssl.key.pem"] == "-----BEGIN PRIVATE KEY-----\nK"
    assert configuration["ssl.ca.location"] == str(tmp_path / "ca.crt")
    assert configuration["group.id"] == "g"
    assert "sasl.password" not in configuration


def test_secrets_are_in_no_text_of_the_settings() -> None:
    settings = KafkaSettings.from_environment(
        environment(SECURITY="sasl_ssl", USERNAME="u", PASSWORD=SECRET, TLS_CERTIFICATE=PEM, TLS_KEY=SECRET)
    )
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SECURITY": "sasl_ssl", "USERNAME": SECRET}, "needs username and password"),
        ({"SECURITY": SECRET}, "security"),
        ({"PASSWROD": SECRET}, "passwrod"),
        ({"SECURITY": "ssl", "TLS_KEY": SECRET}, "come together"),
        ({"SECURITY": "ssl", "TLS_CA": SECRET}, "neither PEM text nor a file"),
        ({"SECRETS": "/no/such/folder"}, "is no folder"),
        ({"DELIVERY_TIMEOUT_MS": "soon"}, "delivery_timeout_ms"),
        ({"PRODUCER_QUEUE_KIB": "64"}, "at least one record"),
    ],
)
def test_what_is_wrong_is_named_and_its_value_not_shown(variables: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidParameters, match=says) as caught:
        KafkaSettings.from_environment(environment(**variables)).producer()
    assert SECRET not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable.idempotence", True),
        ("acks", "all"),
        ("compression.type", "none"),
        ("queue.buffering.max.kbytes", 16 * 1024),
        ("message.max.bytes", 8 * 2**20),
    ],
)
def test_what_bites_a_producer_is_set(key: str, value: object) -> None:
    assert KafkaSettings().producer()[key] == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable.auto.commit", False),
        ("auto.offset.reset", "error"),
        ("allow.auto.create.topics", False),
        ("queued.max.messages.kbytes", 16 * 1024),
    ],
)
def test_what_bites_a_consumer_is_set(key: str, value: object) -> None:
    assert KafkaSettings().consumer("g")[key] == value


def test_every_key_stands_once_with_its_reason_and_in_the_documentation() -> None:
    assert len({key.name for key in KEYS}) == len(KEYS)
    assert all(key.reason for key in KEYS)
    page = (Path(__file__).parents[4] / "docs" / "kafka.md").read_text()
    assert settings_table() in page
