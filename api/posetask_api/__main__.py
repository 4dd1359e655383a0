"""``python -m posetask_api``: the REST server of a cluster, as the chart starts it, told all by variables."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posetask.errors import InvalidParameters, PoseTaskError
from posetask.runtime.service.settings import read_token
from posetask.storage.s3 import S3, S3Settings
from posetask_api.kubernetes.backend import KubernetesBackend
from posetask_api.kubernetes.client import Access, PoseTasks
from posetask_api.serve import serve
from posetask_api.settings import ApiSettings, parse

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_PREFIX = "POSETASK_API_"
_WEEK = 7 * 24 * 3600  # no signature lives longer
_KNOWN = frozenset(
    {
        *("LISTEN", "BACKEND", "NAMESPACE", "ROOT", "SPEC", "MAX_UPLOAD_BYTES", "LINK_SECONDS"),
        *("TOKEN", "TOKEN_FILE", "URL"),
    }
)


def build(environment: Mapping[str, str], access: Access) -> tuple[KubernetesBackend, ApiSettings]:
    """The backend and the settings.

    Raises:
        PoseTaskError: Something is missing or wrong; names the variable.
    """
    given = {n.removeprefix(_PREFIX): v for n, v in environment.items() if n.startswith(_PREFIX) and v}
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        there = ", ".join(sorted(_PREFIX + name for name in _KNOWN))
        raise InvalidParameters(f"{_PREFIX}{unknown[0]} is not known", hint=f"there are {there}")
    if given.get("BACKEND", "kubernetes") != "kubernetes":
        raise InvalidParameters(
            f"POSETASK_API_BACKEND is {given['BACKEND']!r}",
            hint="kubernetes; without a cluster: posetask serve",
        )
    for name in ("NAMESPACE", "ROOT"):
        if name not in given:
            raise InvalidParameters(f"{_PREFIX}{name} is missing", hint="the chart sets it")
    file = given.get("TOKEN_FILE")
    settings = parse(
        ApiSettings,
        listen=given.get("LISTEN"),
        token=read_token(Path(file)) if file else given.get("TOKEN"),
        most_bytes=given.get("MAX_UPLOAD_BYTES"),
        public_url=given.get("URL"),
    )
    backend = KubernetesBackend(
        PoseTasks(access, given["NAMESPACE"]),
        S3(S3Settings.from_environment(environment)),
        given["ROOT"],
        given["NAMESPACE"],
        _spec(given.get("SPEC", "{}")),
        _seconds(given.get("LINK_SECONDS")),
    )
    return backend, settings


def _spec(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidParameters("POSETASK_API_SPEC holds no JSON object", hint='for example {"retries": 1}')
    return found


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit() or not 1 <= int(text) <= _WEEK:
        raise InvalidParameters(f"POSETASK_API_LINK_SECONDS is {text!r}", hint=f"1 to {_WEEK}")
    return int(text)


def main() -> int:
    """Serve until SIGTERM; returns the exit code."""
    logging.basicConfig(level=os.environ.get("POSETASK_LOG_LEVEL", "INFO").upper(), format=LOG_FORMAT)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logger = logging.getLogger("posetask_api")
    try:
        backend, settings = build(os.environ, Access.in_cluster())
        serve(backend, settings, lambda url: logger.info("listening on %s", url))
    except PoseTaskError as error:
        logger.error("%s: %s", error.reason, error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
