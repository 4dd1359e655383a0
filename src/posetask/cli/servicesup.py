"""``posetask services up``: a service for every stage, kept running, their logs joined."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from posetask.cli import console
from posetask.cli.console import show_error
from posetask.cli.service import default_state
from posetask.errors import InvalidParameters, NotAvailable, PoseTaskError

if TYPE_CHECKING:
    from posetask.runtime.service.fleet import Member

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red", "bright_cyan", "bright_green")
FIVE = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
_PORT_STEP = 100

State = Annotated[Path | None, typer.Option(help="folder of the services' states; ~/.local/state/posetask")]
Token = Annotated[Path | None, typer.Option(help="theirs; or POSETASK_SERVICE_TOKEN")]


def up(
    kafka: Annotated[str | None, typer.Option(metavar="BROKER", help="host:port; or POSETASK_KAFKA")] = None,
    stage: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="only these, or others beside --all-five")
    ] = None,
    all_five: Annotated[bool, typer.Option("--all-five", help="the five besides those of --stage")] = False,
    count: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE=N", help="so many services of a stage; tasks are shared"),
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="a named pair; 'demo' knows synthetic people only")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="catalogue name or path of an .onnx")] = None,
    pose: Annotated[str | None, typer.Option(help="catalogue name or path of an .onnx")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    host: Annotated[str, typer.Option(help="to listen on; others than loopback need a token and --files")] = (
        "127.0.0.1"
    ),
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="any free ones, not the stages' own")
    ] = False,
    files: Annotated[Path | None, typer.Option(help="sources and outputs must lie in this folder")] = None,
    token_file: Token = None,
    state: State = None,
    grace_seconds: Annotated[float, typer.Option(help="after SIGTERM, to finish what is under way")] = 20.0,
) -> None:
    """Start a service for every stage, watch them, start anew what dies, and join their logs.

    Ctrl-C and SIGTERM end them in good order; their tasks go on when they are started again.
    """
    logging.basicConfig(level=logging.WARNING)
    try:
        from posetask.runtime.service.fleet import Fleet, Member
        from posetask.runtime.service.settings import read_token
        from posetask.transport.kafka.settings import KafkaSettings
    except ModuleNotFoundError as error:
        missing = NotAvailable(f"{error.name} is not installed", hint="install posetask[services,kafka]")
        raise typer.Exit(show_error(missing)) from None
    environment = {"POSETASK_KAFKA": kafka} if kafka else {}
    try:
        KafkaSettings.from_environment({**os.environ, **environment})
        token = read_token(token_file)
        given = {"yolox": models or detector, "rtmpose": models or pose}
        names = [*(FIVE if all_five or not stage else ()), *(stage or [])]
        members = _members(list(dict.fromkeys(names)), parse_counts(count or []), host, free_ports, Member)
        members = [
            Member(m.stage, m.listen, m.number, _arguments(given.get(m.stage), device, files))
            for m in members
        ]
        width = max(len(member.name) for member in members)
        folder = state or default_state()
        fleet = Fleet(
            members,
            folder,
            environment | ({"POSETASK_SERVICE_TOKEN": token} if token else {}),
            voice(console.out, [member.name for member in members], width),
            grace_seconds=grace_seconds,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: fleet.leave())

        def on_ready(directory: dict[str, list[str]]) -> None:
            for name, urls in directory.items():
                for url in urls:
                    console.err.print(f"{name:<{width}} {url}", markup=False, soft_wrap=True)
            ready = "all are ready; Ctrl-C ends them; next: posetask services submit VIDEO -o OUT.mp4"
            console.err.print(ready, markup=False, soft_wrap=True)

        fleet.run(on_ready)
    except PoseTaskError as error:
        raise typer.Exit(show_error(error)) from None


def parse_counts(pairs: Sequence[str]) -> dict[str, int]:
    """How many services of each stage, from ``STAGE=N``.

    Raises:
        InvalidParameters: One is no such pair.

    >>> parse_counts(["yolox=2"])
    {'yolox': 2}
    """
    out = {}
    for pair in pairs:
        stage, _, number = pair.partition("=")
        if not stage or not number.isdecimal() or not 1 <= int(number) <= 64:
            raise InvalidParameters(f"{pair!r} is no STAGE=N", hint="for example --count yolox=2")
        out[stage] = int(number)
    return out


def voice(out: Console, names: Sequence[str], width: int) -> Callable[[str, str], None]:
    """Make what joins the services' logs: ``name | line``, in colours where someone watches a terminal."""
    lock = threading.Lock()
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}

    def say(name: str, line: str) -> None:
        with lock:
            if out.is_terminal:
                text = Text(f"{name:<{width}} | ", style=colours[name])
                out.print(text.append(line, style="default"), soft_wrap=True)
            else:
                sys.stdout.write(f"{name:<{width}} | {line}\n")
                sys.stdout.flush()

    return say


def _members(
    stages: Sequence[str], counts: dict[str, int], host: str, free_ports: bool, kind: type[Member]
) -> list[Member]:
    from posetask.runtime.stagefactory import find_stage

    unknown = sorted(set(counts) - set(stages))
    if unknown:
        raise InvalidParameters(
            f"--count names {', '.join(unknown)}, which is not started", hint="--stage NAME"
        )
    address = f"[{host}]" if ":" in host else host
    ports = {name: 0 if free_ports else find_stage(name).port for name in stages}
    return [
        kind(name, f"{address}:{ports[name] + _PORT_STEP * number if ports[name] else 0}", number)
        for name in stages
        for number in range(counts.get(name, 1))
    ]


def _arguments(model: str | None, device: str, files: Path | None) -> tuple[str, ...]:
    out = ["--device", device]
    if model:
        out += ["--parameter", f"model={json.dumps(model)}"]
    if files is not None:
        out += ["--files", str(files.absolute())]
    return tuple(out)
