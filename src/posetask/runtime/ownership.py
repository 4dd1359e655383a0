"""Whose an output is: the stream's folder beside it carries the run's id from before the first frame."""

from __future__ import annotations

import glob
import logging
import shutil
from pathlib import Path

from posetask.stages.names import stream_folder
from posetask.storage.durable import storage_errors, write_durably

logger = logging.getLogger(__name__)

OWNER, RESULT = "run.id", "result.json"
"""In the folder: whose it is; and, once all is published, what it came to."""


def owns(output: Path, run: str) -> bool:
    """Whether the stream's folder beside ``output`` is of this run."""
    with storage_errors(stream_folder(output)):
        try:
            return (stream_folder(output) / OWNER).read_text() == run
        except (FileNotFoundError, NotADirectoryError):
            return False


def claim(output: Path, run: str) -> None:
    """Make the stream's folder this run's; what another left there is removed."""
    folder = stream_folder(output)
    shutil.rmtree(folder, ignore_errors=True)
    with storage_errors(folder):
        folder.mkdir(parents=True)
    write_durably(folder / OWNER, run.encode())


def release(output: Path, run: str) -> None:
    """The run is over: remove the stream's folder, where it is this run's."""
    if owns(output, run):
        shutil.rmtree(stream_folder(output), ignore_errors=True)


def sweep(targets: list[Path]) -> None:
    """Remove the unfinished files of a process that died."""
    for target in targets:
        for stale in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
            logger.info("removing %s, left by a process that died", stale)
            stale.unlink(missing_ok=True)
