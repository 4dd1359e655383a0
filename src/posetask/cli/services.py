"""``posetask services``: all resident services of a machine, and who asks them."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from posetask.cli import console
from posetask.cli.console import INTERRUPTED, show_error
from posetask.cli.service import default_state
from posetask.cli.servicesup import FIVE, State, Token, up
from posetask.errors import InvalidParameters, PoseTaskError

if TYPE_CHECKING:
    from posetask.runtime.service.client import ServiceClient
    from posetask.runtime.service.contract import TaskStatus

app = typer.Typer(
    name="services", help="Start the resident services of all stages, and work videos with them."
)


At = Annotated[
    str | None,
    typer.Option(
        envvar="POSETASK_SERVICES",
        help="where they are: STAGE=URL,… or a services.json; what `services up` wrote, or loopback",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="id, as submit prints it")]


app.command("up")(up)


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
