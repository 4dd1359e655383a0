"""``posetask services``: all resident services of a machine, and who asks them."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posetask.cli import console
from posetask.cli.console import INTERRUPTED, show_error
from posetask.cli.service import default_state
from posetask.errors import InvalidParameters, NotAvailable, PoseTaskError

if TYPE_CHECKING:
    from posetask.runtime.service.client import ServiceClient
    from posetask.runtime.service.contract import TaskStatus
    from posetask.runtime.service.fleet import Member

app = typer.Typer(
    name="services", help="Start the resident services of all stages, and work videos with them."
)

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red", "bright_cyan", "bright_green")
FIVE = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
_PORT_STEP = 100

State = Annotated[Path | None, typer.Option(help="folder of the services' states; ~/.local/state/posetask")]
At = Annotated[
    str | None,
    typer.Option(
        envvar="POSETASK_SERVICES",
        help="where they are: STAGE=URL,… or a services.json; what `services up` wrote, or loopback",
    ),
]
Token = Annotated[Path | None, typer.Option(help="theirs; or POSETASK_SERVICE_TOKEN")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="id, as submit prints it")]


@app.command()
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


@app.command()
def submit(
    source: Annotated[str, typer.Argument(metavar="IN", help="a video")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="the MP4; the services write it")
    ] = None,
    models: Annotated[str | None, typer.Option(help="a named pair; None: the services' own")] = None,
    detector: Annotated[str | None, typer.Option(help="None: the service's own")] = None,
    pose: Annotated[str | None, typer.Option(help="None: the service's own")] = None,
    every_n: Annotated[int, typer.Option(help="analyse every Nth frame, interpolate between")] = 1,
    start: Annotated[float, typer.Option(help="seconds of the source to skip")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="seconds to work on")] = None,
    max_frames: Annotated[int | None, typer.Option(help="stop after so many frames")] = None,
    formats: Annotated[
        str, typer.Option(help="data files to write, comma-separated; '' for none")
    ] = "parquet,coco,mot,jsonl",
    boxes: Annotated[bool, typer.Option("--boxes", help="draw boxes")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace existing outputs")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="watch it to the end")] = True,
    at: At = None,
    token_file: Token = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Work IN by the resident services, as `posetask run` does by itself."""
    from posetask.cli.progress import reporter
    from posetask.cli.report import show_summary
    from posetask.runtime.options import RunOptions, default_output
    from posetask.runtime.service.submission import Submission
    from posetask.runtime.sources import resolve

    with _errors(as_json), _client(at, token_file, state) as client:
        options = RunOptions.parse(
            {
                "models": models,
                "detector": detector,
                "pose": pose,
                "every_n": every_n,
                "start": start,
                "duration": duration,
                "max_frames": max_frames,
                "formats": tuple(name.strip() for name in formats.split(",") if name.strip()),
                "boxes": boxes,
                "force": force,
            }
        )
        found = resolve(source)
        if len(found) != 1:
            raise InvalidParameters(f"{source} holds {len(found)} videos", hint="submit them one by one")
        target = output or default_output(found[0].name, found[0].kind)
        task = Submission(client, found[0], target, options)
        task.start()
        if not wait:
            sys.stdout.write(json.dumps({"task_id": task.task_id}) + "\n" if as_json else f"{task.task_id}\n")
            return
        console.err.print(f"task {task.task_id}", markup=False, soft_wrap=True)
        with (
            _interruptible(task.cancel) as asked,
            reporter(console.err, found[0].name, task.frames_expected) as progress,
        ):
            while (summary := task.wait(0.3)) is None:
                if asked.is_set():
                    task.stop()
                progress.update(*task.annotated)
        if as_json:
            sys.stdout.write(json.dumps(summary.model_dump(mode="json")) + "\n")
        else:
            show_summary(console.out, summary)
        if summary.interrupted:
            raise typer.Exit(INTERRUPTED)


@app.command("list")
def list_tasks(at: At = None, token_file: Token = None, state: State = None, as_json: AsJson = False) -> None:
    """List the tasks that the services know."""
    with _errors(as_json), _client(at, token_file, state) as client:
        _show(client.tasks(), as_json)


@app.command()
def status(
    task: TaskId, at: At = None, token_file: Token = None, state: State = None, as_json: AsJson = False
) -> None:
    """Say how far a task is in every stage."""
    from posetask.runtime.service.submission import look

    with _errors(as_json), _client(at, token_file, state) as client:
        _show(look(client, task), as_json)


@app.command()
def stop(
    task: TaskId, at: At = None, token_file: Token = None, state: State = None, as_json: AsJson = False
) -> None:
    """Stop a task in every stage; its topics go after a minute, until then it can be resumed."""
    from posetask.runtime.service.submission import look

    with _errors(as_json), _client(at, token_file, state) as client:
        for problem in client.stop_everywhere(task):
            raise problem
        _show(look(client, task), as_json)


@app.command()
def resume(
    task: TaskId, at: At = None, token_file: Token = None, state: State = None, as_json: AsJson = False
) -> None:
    """Let a task that was stopped, or has failed, go on where it was."""
    from posetask.runtime.service.submission import resume as resume_task

    with _errors(as_json), _client(at, token_file, state) as client:
        _show(resume_task(client, task), as_json)


@app.command()
def complete(
    task: TaskId, at: At = None, token_file: Token = None, state: State = None, as_json: AsJson = False
) -> None:
    """End a task's stream now: what is decoded is finished, and the result is whole."""
    with _errors(as_json), _client(at, token_file, state) as client:
        _show([client.complete("producer", task)], as_json)


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


@contextmanager
def _client(at: str | None, token_file: Path | None, state: Path | None) -> Iterator[ServiceClient]:
    from posetask.runtime.service.client import ServiceClient, read_directory
    from posetask.runtime.service.fleet import DIRECTORY
    from posetask.runtime.service.settings import read_token
    from posetask.runtime.stagefactory import find_stage

    known = (state or default_state()) / DIRECTORY
    if at is not None:
        directory = read_directory(at)
    elif state is not None or known.exists():
        directory = read_directory(str(known))
    else:
        directory = {name: [f"http://127.0.0.1:{find_stage(name).port}"] for name in FIVE}
    order = [*(name for name in FIVE if name in directory), *sorted(set(directory) - set(FIVE))]
    with ServiceClient({name: directory[name] for name in order}, read_token(token_file)) as client:
        yield client


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except PoseTaskError as error:
        raise typer.Exit(show_error(error, as_json=as_json)) from None


@contextmanager
def _interruptible(cancel: Callable[[], None]) -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, a second one cancels."""
    asked = threading.Event()

    def ask(number: int, frame: object) -> None:
        cancel() if asked.is_set() else asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(tasks: Sequence[TaskStatus], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([task.model_dump(mode="json") for task in tasks]) + "\n")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("TASK", "STAGE", "STATUS", "FRAMES", "LAG", "ERROR"):
        table.add_column(column, overflow="fold")
    for task in tasks:
        lag = " ".join(f"{topic} {count}" for topic, count in task.lag.items())
        error = f"{task.error.reason}: {task.error.message}" if task.error else ""
        table.add_row(task.task_id, task.service, task.status, str(task.frames), lag, Text(error))
    console.out.print(table)
