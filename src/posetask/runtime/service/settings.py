"""How a service is started: one model for the command line and its environment."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from posetask.errors import InvalidParameters

_LEAST_TOKEN = 16


class ServiceSettings(BaseModel):
    """Of one service process. How to reach the brokers is not in here: see ``POSETASK_KAFKA_*``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    stage: str
    listen: str = Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s\[\]]+):\d{1,5}$", description="host:port")
    state: Path = Field(description="folder of this service alone")
    token: SecretStr | None = Field(None, description="what callers must send; None only on loopback")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of every task, under its own")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cores: int | None = Field(None, ge=1, description="to size pools by; None = those of the cgroup")
    files: Path | None = Field(
        None, description="sources and outputs must lie in here; None only on loopback"
    )
    most_tasks: int = Field(16, ge=1, le=1000, description="at work at once; more are refused for now")
    grace_seconds: float = Field(20.0, ge=0, le=3600, description="to finish what is under way")
    tls_certificate: Path | None = Field(None, description="PEM; with tls_key the service speaks TLS alone")
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key come together")
        if self.token is not None and len(self.token.get_secret_value()) < _LEAST_TOKEN:
            raise ValueError(f"a token has {_LEAST_TOKEN} characters or more")
        if not is_loopback(self.host):
            if self.token is None:
                raise ValueError(f"{self.host} is not loopback: a service that others reach needs a token")
            if self.files is None:
                raise ValueError(
                    f"{self.host} is not loopback: say where sources and outputs may lie (files)"
                )
        return self

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Settings from anyone's values; None stands for the default.

        Raises:
            InvalidParameters: Says what is wrong; never shows a value.
        """
        try:
            return cls.model_validate({name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'the service'}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise InvalidParameters(
                said,
                hint="--listen 127.0.0.1:PORT, or both --token-file (POSETASK_SERVICE_TOKEN) and --files",
            ) from None

    @property
    def host(self) -> str:
        """To listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """To listen on; 0 takes any free one."""
        return int(self.listen.rpartition(":")[2])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it.

    >>> [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "yolox")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path | None, variable: str = "POSETASK_SERVICE_TOKEN") -> str | None:
    """The token: from a file, or from the variable; None where there is none.

    Raises:
        InvalidParameters: The file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(variable) or None
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameters(
            f"the token file {file} cannot be read ({type(error).__name__})", hint="check its path and rights"
        ) from None
    if not text:
        raise InvalidParameters(f"the token file {file} is empty", hint="openssl rand -hex 32 makes a token")
    return text
