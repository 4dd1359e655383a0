"""`scripts/kafka`: a broker that is tied to a process ends with it, even where nobody can stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


def is_there(pid: int, word: str) -> bool:
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_a_broker_does_not_outlive_the_process_that_it_is_tied_to(
    make_broker: Callable[..., Any],
) -> None:
    broker = make_broker()
    broker.command("stop")  # it was tied to this process
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        broker.command("start", "--with-process", str(owner.pid))
        pid, word = broker.pid, str(broker.folder)
        assert is_there(pid, word)
        os.kill(owner.pid, signal.SIGKILL)  # not reaped yet: a zombie has ended, too
        deadline = time.monotonic() + 60
        while is_there(pid, word) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_there(pid, word)
    finally:
        owner.kill()
        owner.wait()
        broker.command("stop")
    while (broker.folder / "watch.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not (broker.folder / "watch.pid").exists(), "the watcher leaves, too"
