"""``posetask service``: a stage that stays, for many tasks."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from posetask.cli.console import show_error
from posetask.cli.parent import watch_parent
from posetask.errors import InvalidParameters, NotAvailable, PoseTaskError

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def service(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="producer, yolox, rtmpose, bytetrack, annotator, or another")
    ],
    listen: Annotated[
        str | None,
        typer.Option(envvar="POSETASK_SERVICE_LISTEN", help="host:port; loopback and the stage's own port"),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(envvar="POSETASK_SERVICE_STATE", help="folder that a killed service resumes from"),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME=VALUE", help="of every task, unless it says otherwise"
        ),
    ] = None,
    device: Annotated[str, typer.Option(envvar="POSETASK_SERVICE_DEVICE", help="auto, cpu or cuda")] = "auto",
    cores: Annotated[int | None, typer.Option(help="to size pools by")] = None,
    files: Annotated[
        Path | None,
        typer.Option(envvar="POSETASK_SERVICE_FILES", help="sources and outputs must lie in this folder"),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="what callers must send; or POSETASK_SERVICE_TOKEN")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM; the service then speaks TLS")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM")] = None,
    most_tasks: Annotated[int, typer.Option(help="at work at once; more are refused for now")] = 16,
    grace_seconds: Annotated[float, typer.Option(help="after SIGTERM, to finish what is under way")] = 20.0,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="leave when the process that started this one ends")
    ] = False,
) -> None:
    """Keep one stage resident: its model loaded once, many tasks, asked by REST.

    POSETASK_KAFKA_* say how to reach the brokers.
    """
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # every core has a worker already
    logging.basicConfig(level=os.environ.get("POSETASK_LOG_LEVEL", "INFO").upper(), format=LOG_FORMAT)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        from posetask.runtime.reports import write_last_words
        from posetask.runtime.service.app import make_app
        from posetask.runtime.service.server import ServiceServer
        from posetask.runtime.service.service import StageService
        from posetask.runtime.service.settings import ServiceSettings, read_token
        from posetask.runtime.stagefactory import find_stage
        from posetask.transport.kafka.settings import KafkaSettings
    except ModuleNotFoundError as error:
        missing = NotAvailable(f"{error.name} is not installed", hint="install posetask[services,kafka]")
        raise typer.Exit(show_error(missing)) from None
    try:
        settings = ServiceSettings.parse(
            stage=name,
            listen=listen or f"127.0.0.1:{find_stage(name).port}",
            state=state or default_state() / name,
            token=read_token(token_file),
            parameters=parse_pairs(parameter or []),
            device=device,
            cores=cores,
            files=files,
            most_tasks=most_tasks,
            grace_seconds=grace_seconds,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
        )
        kafka = KafkaSettings.from_environment()
        with ServiceServer(settings) as server:
            resident = StageService(settings, kafka)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda number, frame: resident.leave())
            if with_parent:
                watch_parent(resident.leave)
            server.serve(make_app(resident))
            logging.getLogger("posetask").info("%s listens on %s", name, server.url)
            resident.run(server.url)
    except PoseTaskError as error:
        write_last_words(error)
        raise typer.Exit(show_error(error)) from None


def default_state() -> Path:
    """Where services keep their state, by the XDG base directories."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "posetask" / "services"


def parse_pairs(pairs: list[str]) -> dict[str, Any]:
    """Parameters from ``NAME=VALUE``; values are YAML.

    Raises:
        InvalidParameters: One has no ``=``, or its value cannot be read.

    >>> parse_pairs(["model=demo", "max_people=7"])
    {'model': 'demo', 'max_people': 7}
    """
    import yaml

    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            out[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            equals = ""
        if not equals or not name:
            raise InvalidParameters(f"{pair!r} is no NAME=VALUE", hint="for example --parameter model=demo")
    return out
