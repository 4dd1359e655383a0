"""``posetask stage``: one stage of one run over Kafka, as a Job's pod runs it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from posetask.cli.console import show_error
from posetask.errors import NotAvailable, PoseTaskError

STOPPED = 143
"""Exit code after SIGTERM: 128 + 15. The work is not done, and another process can take over."""


def stage(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="producer, yolox, rtmpose, bytetrack, annotator")
    ],
    spec: Annotated[Path | None, typer.Option(help="YAML or JSON; POSETASK_STAGE_* go over it")] = None,
    listen: Annotated[str | None, typer.Option(help="host:port of /healthz, /readyz, /metrics")] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="leave when the process that started this one ends")
    ] = False,
) -> None:
    """Run one stage of one run over Kafka, as a Job's pod does.

    POSETASK_KAFKA_* say how to reach the brokers.
    """
    # Every core has a worker already: OpenCV's own pool would only get in the way. Not every stage loads it.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    logging.basicConfig(level=os.environ.get("POSETASK_LOG_LEVEL", "WARNING").upper())
    # What this takes to import, other commands need not pay for.
    try:
        from posetask.runtime.process import StageProcess
        from posetask.runtime.reports import write_last_words
        from posetask.runtime.stagespec import StageProcessSpec
        from posetask.transport.kafka.settings import KafkaSettings
    except ModuleNotFoundError as error:
        missing = NotAvailable(f"{error.name} is not installed", hint="install posetask[kafka]")
        raise typer.Exit(show_error(missing)) from None
    try:
        process = StageProcess(
            StageProcessSpec.load(spec, stage=name, listen=listen), KafkaSettings.from_environment()
        )
    except PoseTaskError as error:
        write_last_words(error)
        raise typer.Exit(show_error(error)) from None
    signal.signal(signal.SIGTERM, lambda number, frame: process.stop())
    signal.signal(signal.SIGINT, lambda number, frame: process.finish_early())
    if with_parent:
        watch = threading.Thread(target=_watch, args=(os.getppid(), process.cancel), daemon=True)
        watch.start()
    try:
        process.run()
    except PoseTaskError as error:
        raise typer.Exit(show_error(error)) from None
    raise typer.Exit(STOPPED if process.state == "stopped" else 0)


def _watch(parent: int, leave: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    leave()
