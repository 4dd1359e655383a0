"""How a server is started: one model for the command line and its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from posetask.errors import InvalidParameters
from posetask.runtime.service.settings import is_loopback

_LEAST_TOKEN = 16
T = TypeVar("T", bound=BaseModel)


class ApiSettings(BaseModel):
    """Of one REST server, whatever is behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: str = Field(
        "127.0.0.1:8000", pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s\[\]]+):\d{1,5}$", description="host:port"
    )
    token: SecretStr | None = Field(None, description="what callers must send; None only on loopback")
    most_bytes: int = Field(8 * 2**30, ge=1, description="of one upload")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+(/\S*)?$",
        description="how clients see the server; None = as they ask",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.token is not None and len(self.token.get_secret_value()) < _LEAST_TOKEN:
            raise ValueError(f"a token has {_LEAST_TOKEN} characters or more")
        if self.token is None and not is_loopback(self.host):
            raise ValueError(f"{self.host} is not loopback: a server that others reach needs a token")
        return self

    @property
    def host(self) -> str:
        """To listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """To listen on; 0 takes any free one."""
        return int(self.listen.rpartition(":")[2])


class LocalSettings(BaseModel):
    """Of the home on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="folder of this server alone: uploads, results, the list of tasks")
    detector: str | None = Field(
        None, description="catalogue name or path of an .onnx; None = the best pulled"
    )
    pose: str | None = Field(None, description="the same of the pose model")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(1, ge=1, le=64, description="tasks at work at once")
    most_waiting: int = Field(
        100, ge=0, le=100_000, description="tasks that may wait; more are refused for now"
    )
    formats: tuple[str, ...] = Field(("parquet",), description="data files beside the video")
    attempts: int = Field(3, ge=1, le=20, description="processes that may die over a task")

    @field_validator("formats")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from posetask.exports import FORMATS  # and what writes them: a cluster has stages for it

        unknown = [name for name in value if name not in FORMATS]
        if unknown:
            raise ValueError(f"unknown formats {', '.join(unknown)}; known are {', '.join(FORMATS)}")
        return value


def parse(kind: type[T], **values: Any) -> T:
    """Settings from anyone's values; None stands for the default.

    Raises:
        InvalidParameters: Says what is wrong; never shows a secret.
    """
    try:
        return kind.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the server'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise InvalidParameters(said, hint="posetask serve --help says what is allowed") from None
