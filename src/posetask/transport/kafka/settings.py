"""Every librdkafka key that we set, typed, with its reason: the one place where clients are configured.

Values come from the environment (``POSETASK_KAFKA``, ``POSETASK_KAFKA_<FIELD>``) and from a mounted
secret's folder (``POSETASK_KAFKA_SECRETS``). Secrets are never in ``repr``, errors or logs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from posetask.errors import InvalidParameters
from posetask.transport.kafka.keys import KEYS, Client, Value

SECRET_FILES = {
    "username": "username",
    "password": "password",
    "ca.crt": "tls_ca",
    "user.crt": "tls_certificate",
    "tls.crt": "tls_certificate",
    "user.key": "tls_key",
    "tls.key": "tls_key",
}
"""Files of a mounted secret (Strimzi's names and cert-manager's) -> field."""

_PEM = "-----BEGIN "


class KafkaSettings(BaseModel):
    """How to reach the brokers, and what may be tuned. The rest is fixed in ``keys.KEYS``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bootstrap: str = Field(
        default="127.0.0.1:9092", pattern=r"^[^,\s]+(,[^,\s]+)*$", description="host:port, by commas"
    )
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="of the connection; sasl_plaintext sends passwords in the clear"
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="of SASL"
    )
    username: str | None = Field(default=None, description="of SASL")
    password: SecretStr | None = Field(default=None, description="of SASL")
    tls_ca: str | None = Field(
        default=None, description="PEM text or file of the authority; None = the system's"
    )
    tls_certificate: str | None = Field(default=None, description="PEM text or file, for mutual TLS")
    tls_key: SecretStr | None = Field(default=None, description="PEM text or file, for mutual TLS")
    tls_key_password: SecretStr | None = Field(default=None, description="of an encrypted key")
    client_id: str = Field(default="posetask", max_length=200, description="in the brokers' logs and quotas")
    message_bytes: int = Field(
        default=8 * 2**20, ge=2**16, le=64 * 2**20, description="largest record, in bytes"
    )
    producer_queue_kib: int = Field(
        default=16 * 1024, ge=64, description="records waiting to be sent, in KiB"
    )
    consumer_queue_kib: int = Field(default=16 * 1024, ge=64, description="records fetched ahead, in KiB")
    delivery_timeout_ms: int = Field(
        default=120_000, ge=1_000, description="a record not acknowledged by then is fatal"
    )
    connect_timeout_ms: int = Field(default=10_000, ge=100, description="no broker by then: KafkaUnavailable")
    topic_check_ms: int = Field(
        default=30_000, ge=1_000, description="a topic deleted under an idle run is seen by then"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.security.startswith("sasl") and (self.username is None or self.password is None):
            raise ValueError(f"security {self.security} needs username and password")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key come together")
        if min(self.producer_queue_kib, self.consumer_queue_kib) * 1024 < self.message_bytes:
            raise ValueError("a queue must hold at least one record of message_bytes")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Settings of ``POSETASK_KAFKA*``, over those of the mounted secret.

        Raises:
            InvalidParameters: A variable is unknown or bad, or a file is missing; never shows a value.

        >>> KafkaSettings.from_environment({"POSETASK_KAFKA": "broker:9092"}).bootstrap
        'broker:9092'
        """
        environment = os.environ if environment is None else environment
        values: dict[str, str] = {}
        folder = environment.get("POSETASK_KAFKA_SECRETS")
        if folder:
            values.update(_read_secrets(Path(folder)))
        for name, value in environment.items():
            if name == "POSETASK_KAFKA":
                values["bootstrap"] = value
            elif name.startswith("POSETASK_KAFKA_") and name != "POSETASK_KAFKA_SECRETS":
                values[name.removeprefix("POSETASK_KAFKA_").lower()] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            # Only names and rules: an input could be a secret.
            said = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()
            )
            known = ", ".join(f"POSETASK_KAFKA_{name.upper()}" for name in cls.model_fields)
            raise InvalidParameters(f"Kafka settings: {said}", hint=f"known variables are {known}") from None

    def producer(self) -> dict[str, Value]:
        """Configuration of a producer; it holds secrets in the clear: give it to the client alone."""
        return self._configuration("producer") | self._security()

    def consumer(self, group: str) -> dict[str, Value]:
        """Configuration of a consumer that commits for ``group``; see :meth:`producer`."""
        return self._configuration("consumer") | self._security() | {"group.id": group}

    def admin(self) -> dict[str, Value]:
        """Configuration of an admin client; see :meth:`producer`."""
        return self._configuration("all") | self._security()

    def _configuration(self, client: Client) -> dict[str, Value]:
        return {key.name: key.value(self) for key in KEYS if key.client in {"all", client}}

    def _security(self) -> dict[str, Value]:
        out: dict[str, Value] = {"security.protocol": self.security}
        if self.security.startswith("sasl") and self.username is not None and self.password is not None:
            out["sasl.mechanism"] = self.mechanism
            out["sasl.username"] = self.username
            out["sasl.password"] = self.password.get_secret_value()
        if self.security.endswith("ssl"):
            key = self.tls_key.get_secret_value() if self.tls_key else None
            for name, value in (("ca", self.tls_ca), ("certificate", self.tls_certificate), ("key", key)):
                if value is not None:
                    out.update(_pem(name, value))
            if self.tls_key_password is not None:
                out["ssl.key.password"] = self.tls_key_password.get_secret_value()
        return out


def _read_secrets(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise InvalidParameters(
            f"POSETASK_KAFKA_SECRETS: {folder} is no folder",
            hint="mount the secret there, or unset the variable",
        )
    found = {field: folder / name for name, field in SECRET_FILES.items() if (folder / name).is_file()}
    return {field: path.read_text().strip() for field, path in found.items()}


def _pem(name: str, value: str) -> dict[str, Value]:
    if value.lstrip().startswith(_PEM):
        return {f"ssl.{name}.pem": value}
    if not Path(value).is_file():
        # The value may be key material that lost its first line: do not show it.
        raise InvalidParameters(f"tls_{name} is neither PEM text nor a file", hint="give the text or a path")
    return {f"ssl.{name}.location": value}


def settings_table() -> str:
    """The table of docs/kafka.md, so that it cannot lag behind the code."""
    rows = ["| client | key | value | unit | why |", "|---|---|---|---|---|"]
    defaults = KafkaSettings()
    for key in KEYS:
        value = str(key.value(defaults)).lower() if key.unit == "" else str(key.value(defaults))
        rows.append(f"| {key.client} | `{key.name}` | {value} | {key.unit} | {key.reason} |")
    return "\n".join(rows)
