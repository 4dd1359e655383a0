"""``posetask stage NAME``, which kills itself, or the broker, at the moment that a plan has chosen.

Started by ``chaos_stages.py`` in place of ``python -m posetask``, with the folder of the plan in front. The
product knows nothing of this: its functions are wrapped here, from outside.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from _chaos_plan import BROKER, Shot, read_arms, read_shots, write_shot

from posetask.cli.main import main
from posetask.exports.multi import MultiWriter
from posetask.media.manifest import MANIFEST
from posetask.media.remux import remux
from posetask.messages import EndOfStream
from posetask.runtime import process
from posetask.runtime.ownership import RESULT
from posetask.storage.durable import write_durably
from posetask.transport.kafka.reader import KafkaReader
from posetask.transport.kafka.writer import KafkaWriter


class Trigger:
    """Counts the moments that this process comes to, and kills at the one that is next in the plan."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage
        self._lock = threading.Lock()
        self._left = read_arms(folder, stage)[len(list(read_shots(folder, stage))) :]
        self._seen, self._marked = 0, set[str]()

    def at(self, moment: str) -> None:
        """This moment is now."""
        with self._lock:
            if not self._left or self._left[0].moment != moment:
                return
            self._seen += 1
            if self._seen < self._left[0].nth:
                return
            kill, self._seen = self._left.pop(0), 0
            over = (
                self._ends("annotator", "*") if kill.victim == BROKER else self._ends(self.stage, os.getpid())
            )
            write_shot(self.folder, Shot(kill, os.getpid(), over))
            pid = int((self.folder / "broker").read_text()) if kill.victim == BROKER else os.getpid()
            os.kill(pid, signal.SIGKILL)

    def up(self) -> None:
        """This process has come to its first frame."""
        self._mark("up")

    def end(self) -> None:
        """This process has come to the end of its stream."""
        self._mark("end")

    def _mark(self, word: str) -> None:
        if word not in self._marked:
            self._marked.add(word)
            (self.folder / f"{self.stage}.{os.getpid()}.{word}").touch()

    def _ends(self, stage: str, pid: int | str) -> bool:
        return any(self.folder.glob(f"{stage}.{pid}.end"))


Hook = Callable[..., None]


def nothing(*args: object) -> None:
    """A hook that does nothing."""


def around(function: Callable[..., Any], before: Hook = nothing, after: Hook = nothing) -> Callable[..., Any]:
    """The function between two hooks, which are told what it is told."""

    @wraps(function)
    def wrapped(*args: Any, **named: Any) -> Any:
        before(*args)
        out = function(*args, **named)
        after(*args)
        return out

    return wrapped


def wrap_transport(trigger: Trigger) -> None:
    """Records that are put and delivered, ends, and commits."""
    ending = False

    def before_put(writer: KafkaWriter, record: object) -> None:
        nonlocal ending
        trigger.up()
        if isinstance(record, EndOfStream):
            ending = True
            trigger.end()
            trigger.at("before-publish")
        else:
            trigger.at("before-produce")

    def after_put(writer: KafkaWriter, record: object) -> None:
        if not isinstance(record, EndOfStream):
            trigger.at("after-produce")

    def after_flush(writer: KafkaWriter) -> None:
        if ending:
            trigger.at("after-publish")

    def after_delivery(writer: KafkaWriter, index: int | None, error: object, message: object) -> None:
        if index is not None and error is None:
            trigger.at("after-delivery")

    def before_commit(reader: KafkaReader) -> None:
        trigger.up()
        trigger.at("before-commit")

    def after_commit(reader: KafkaReader, error: object) -> None:
        if error is None:
            trigger.at("after-commit")

    hooks: list[tuple[type, str, Hook, Hook]] = [
        (KafkaWriter, "put", before_put, after_put),
        (KafkaWriter, "flush", nothing, after_flush),
        (KafkaWriter, "_on_delivery", nothing, after_delivery),
        (KafkaReader, "_send", before_commit, nothing),
        (KafkaReader, "on_commit", nothing, after_commit),
    ]
    for owner, name, before, after in hooks:
        setattr(owner, name, around(getattr(owner, name), before, after))


def wrap_storage(trigger: Trigger) -> None:
    """Segments and the manifest that lists them, the MP4, the data, and the last word."""
    fresh = False

    def before_file(path: Path, *rest: object) -> None:
        if path.suffix == ".m4s":
            trigger.at("before-segment")
        elif path.name == RESULT:
            trigger.at("after-publish")

    def after_file(path: Path, *rest: object) -> None:
        nonlocal fresh
        if path.suffix == ".m4s":
            fresh = True
            trigger.at("within-segment")
        elif path.name == MANIFEST and fresh:
            fresh = False
            trigger.at("after-segment")
        elif path.name == RESULT:
            trigger.at("after-result")

    def before_remux(*args: object) -> None:
        trigger.end()
        trigger.at("before-publish")

    def before_data(writer: MultiWriter, *args: object) -> None:
        trigger.end()
        trigger.at("within-publish")

    everywhere(write_durably, around(write_durably, before_file, after_file))
    everywhere(remux, around(remux, before_remux))
    name = "close"
    setattr(MultiWriter, name, around(MultiWriter.close, before_data))


def everywhere(function: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Put one function in the place of another, under every name that a module of ours has for it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("posetask"):
            for key, value in list(vars(module).items()):
                if value is function:
                    setattr(module, key, other)


if __name__ == "__main__":
    assert process is not None  # imported, so that its names are wrapped, too
    plan = Path(sys.argv.pop(1))
    log = (plan / f"{sys.argv[2]}.log").open("a")
    os.dup2(log.fileno(), 2)
    faulthandler.register(signal.SIGUSR1)
    now = Trigger(plan, sys.argv[2])
    wrap_transport(now)
    wrap_storage(now)
    main()
