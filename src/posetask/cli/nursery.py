"""``python -m posetask.cli.nursery``: forks stage processes that need not load anything again.

See :mod:`posetask.runtime.nursery`, which asks. It has one thread and nothing open when it forks: no client,
no model, no library that starts threads of its own; each child opens what is its own.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import IO, Any

from posetask.cli.main import main

PRELOAD = (
    "av",
    "cv2",
    "posetask.cli.stage",
    "posetask.runtime.process",
    "posetask.runtime.sources",
    "posetask.runtime.outputs",
    "posetask.stages.producer",
    "posetask.stages.yolox",
    "posetask.stages.rtmpose",
    "posetask.stages.bytetrack",
)
"""What several stages need. Not ONNX Runtime and not Arrow: these start threads, which no fork survives."""


def serve() -> dict[str, Any] | None:
    """Fork what is asked for, until nobody can ask any more.

    Returns:
        In a child, what it shall be; None in the nursery itself, at the end.
    """
    for name in PRELOAD:
        import_module(name)
    gc.freeze()  # so that a child's collections do not copy what all share
    wake, waken = os.pipe()
    for end in (wake, waken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waken)
    wishes, words = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    while True:
        ready, _, _ = select.select([wishes, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        _bury(words)
        if wishes not in ready:
            continue
        line = wishes.readline()
        if not line:
            return None
        try:
            pid = os.fork()
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            pid = -1
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            words.close()
            for descriptor in (wake, waken):
                os.close(descriptor)
            wish: dict[str, Any] = json.loads(line)
            return wish
        _say(words, {"started": pid})


def _say(stream: IO[bytes], words: Mapping[str, Any]) -> None:
    stream.write(json.dumps(words).encode() + b"\n")
    stream.flush()


def _bury(words: IO[bytes]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(words, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def become(wish: Mapping[str, Any]) -> None:
    """Turn this process into the one that is wished for; returns with its arguments in place."""
    os.setsid()  # Ctrl-C is the parent's: it ends the stream in order
    log = os.open(wish["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(wish["environment"])
    sys.argv = ["posetask", *wish["arguments"]]


if __name__ == "__main__":
    mine = serve()
    if mine is not None:
        become(mine)
        main()
