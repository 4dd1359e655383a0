"""``posetask serve``: the REST API on this machine, without a broker or a cluster."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from posetask.cli.console import out
from posetask.errors import InvalidParameters, NotAvailable

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_NEEDED = ("fastapi", "uvicorn", "python_multipart", "posetask_api")


def serve(
    data: Annotated[
        Path,
        typer.Option(envvar="POSETASK_API_DATA", help="folder for uploads, results and the list of tasks"),
    ] = Path("posetask-data"),
    listen: Annotated[
        str | None, typer.Option(envvar="POSETASK_API_LISTEN", help="host:port [127.0.0.1:8000]")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="a named pair; 'demo' knows synthetic people only")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="detector: catalogue name or path of an .onnx")] = None,
    pose: Annotated[str | None, typer.Option(help="pose model: catalogue name or path of an .onnx")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    workers: Annotated[int | None, typer.Option(help="tasks at work at once [1]")] = None,
    most_waiting: Annotated[
        int | None, typer.Option(help="tasks that may wait; more are refused for now [100]")
    ] = None,
    most_bytes: Annotated[int | None, typer.Option(help="of one upload [8 GiB]")] = None,
    formats: Annotated[
        str, typer.Option(help="data files beside the video, comma-separated; '' for none")
    ] = "parquet",
    token_file: Annotated[
        Path | None, typer.Option(help="what callers must send; or POSETASK_API_TOKEN")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(envvar="POSETASK_API_URL", help="how clients see this server")
    ] = None,
) -> None:
    """Serve the REST API on this machine: uploads in, annotated videos out.

    Without a token it answers this machine alone. What it was at work on when it ended, it begins again.
    """
    logging.basicConfig(level=os.environ.get("POSETASK_LOG_LEVEL", "INFO").upper(), format=LOG_FORMAT)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise NotAvailable(f"{', '.join(missing)} not installed", hint="install posetask[api]")
    if models is not None and (models != "demo" or detector or pose):
        raise InvalidParameters(
            "--models takes 'demo', and then no --detector or --pose", hint="leave one away"
        )
    # The library does not import the API (see the contracts in pyproject.toml): this command is its door.
    settings: Any = import_module("posetask_api.settings")
    local: Any = import_module("posetask_api.local.backend")
    server: Any = import_module("posetask_api.serve")
    from posetask.runtime.service.settings import read_token

    api = settings.parse(
        settings.ApiSettings,
        listen=listen,
        token=read_token(token_file, "POSETASK_API_TOKEN"),
        most_bytes=most_bytes,
        public_url=public_url,
    )
    home = settings.parse(
        settings.LocalSettings,
        data=data,
        detector=models or detector,
        pose=models or pose,
        device=device,
        workers=workers,
        most_waiting=most_waiting,
        formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
    )
    backend = local.LocalBackend(home)
    server.serve(backend, api, lambda url: out.print(f"listening on {url}, data in {data}", soft_wrap=True))
