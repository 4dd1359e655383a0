"""``posetask fused``: all stages of one run in one process, as a Fused task's pod runs them."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetask.cli.console import show_error
from posetask.cli.parent import watch_parent
from posetask.cli.stage import STOPPED
from posetask.errors import NotAvailable, PoseTaskError

if TYPE_CHECKING:
    from posetask.runtime.fused import Words


def fused(
    spec: Annotated[Path | None, typer.Option(help="YAML or JSON; POSETASK_STAGE_* go over it")] = None,
    listen: Annotated[str | None, typer.Option(help="host:port of /healthz, /readyz, /metrics")] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="leave when the process that started this one ends")
    ] = False,
) -> None:
    """Run all stages of one run in this process, as a Fused task's pod does.

    With POSETASK_KAFKA progress goes to posetask_progress; frames never leave the process.
    """
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # every core has a worker already
    logging.basicConfig(level=os.environ.get("POSETASK_LOG_LEVEL", "WARNING").upper())
    from posetask.runtime.fused import FUSED, FusedProcess
    from posetask.runtime.reports import write_last_words
    from posetask.runtime.stagespec import StageProcessSpec

    try:
        process = FusedProcess(StageProcessSpec.load(spec, stage=FUSED, listen=listen), _words())
        signal.signal(signal.SIGTERM, lambda number, frame: process.stop())
        signal.signal(signal.SIGINT, lambda number, frame: process.finish_early())
        if with_parent:
            watch_parent(process.stop)
        process.run()
    except PoseTaskError as error:
        write_last_words(error)
        raise typer.Exit(show_error(error)) from None
    raise typer.Exit(STOPPED if process.state == "stopped" else 0)


def _words() -> Words | None:
    """Where progress goes, if a broker is named.

    Raises:
        PoseTaskError: One is, and its client is not installed or its settings are wrong.
    """
    if not os.environ.get("POSETASK_KAFKA"):
        return None
    try:
        from posetask.transport.kafka.progress import ProgressWriter
        from posetask.transport.kafka.settings import KafkaSettings
    except ModuleNotFoundError as error:
        raise NotAvailable(f"{error.name} is not installed", hint="install posetask[kafka]") from None
    return ProgressWriter(KafkaSettings.from_environment())
