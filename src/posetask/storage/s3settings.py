"""How an S3 store is reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from posetask.errors import InvalidParameters, NotAvailable
from posetask.storage.sigv4 import Credentials


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach the store. Read from the variables that every S3 client knows.

    Attributes:
        credentials: Of whoever asks.
        region: For example ``us-east-1``.
        endpoint: None is AWS itself; anything else is addressed with the bucket in the path.
    """

    credentials: Credentials
    region: str = "us-east-1"
    endpoint: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION``,
        ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``.

        Raises:
            NotAvailable: There are no credentials.
            InvalidParameters: The endpoint is no URL.
        """  # noqa: D205 - the names are the summary
        env = os.environ if environment is None else environment
        access, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
        if not access or not secret:
            raise NotAvailable(
                "there are no credentials for s3://",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL off AWS)",
            )
        endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or None
        if endpoint is not None and (
            urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname
        ):
            raise InvalidParameters(
                f"AWS_ENDPOINT_URL is {endpoint!r}", hint="for example https://s3.example"
            )
        return cls(
            Credentials(access, secret, env.get("AWS_SESSION_TOKEN") or None),
            env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
            endpoint.rstrip("/") if endpoint is not None else None,
        )
