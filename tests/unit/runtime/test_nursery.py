"""Processes forked from one that has loaded what they need: they end and die as any others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from posetask.errors import StageFailed
from posetask.runtime.nursery import Nursery

pytest.importorskip("confluent_kafka")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    found = Nursery(tmp_path / "nursery.log", os.environ)
    found.open()
    yield found
    found.close()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_child_has_its_own_arguments_environment_log_and_exit_code(
    nursery: Nursery, tmp_path: Path
) -> None:
    last = {**os.environ, "POSETASK_TERMINATION_LOG": str(tmp_path / "last")}
    log = tmp_path / "a.log"
    log.write_text("what was there\n")
    refused = nursery.start(("stage", "yolo", "--spec", str(tmp_path / "none.json")), last, log)
    version = nursery.start(("--version",), {}, tmp_path / "b.log")
    assert (refused.wait(50), version.wait(50)) == (20, 0)
    assert (refused.poll(), version.poll()) == (20, 0)
    assert log.read_text().startswith("what was there\n")
    assert "does not exist" in " ".join(log.read_text().split())
    assert "SourceNotFound" in (tmp_path / "last").read_text()
    assert (tmp_path / "b.log").read_text().startswith("posetask ")


def test_it_forks_with_one_thread_and_its_children_leave_the_terminal(
    nursery: Nursery, tmp_path: Path
) -> None:
    held = tmp_path / "held.json"
    os.mkfifo(held)  # the child waits for its specification
    child = nursery.start(("stage", "yolox", "--spec", str(held)), os.environ, tmp_path / "a.log")
    parent = parent_of(child.pid)
    assert len(list(Path(f"/proc/{parent}/task").iterdir())) == 1
    assert parent not in {os.getpid(), child.pid}
    deadline = time.monotonic() + 30
    while os.getsid(child.pid) != child.pid:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    child.kill()  # of one that is dead already is nothing
    wait_until_gone(child.pid)


def test_without_a_nursery_nothing_is_started(nursery: Nursery, tmp_path: Path) -> None:
    never = Nursery(tmp_path / "never.log", os.environ)
    with pytest.raises(StageFailed, match="the nursery is gone") as caught:
        never.start(("--version",), os.environ, tmp_path / "a.log")
    assert caught.value.hint
    held = tmp_path / "held.json"
    os.mkfifo(held)
    child = nursery.start(("stage", "yolox", "--spec", str(held)), os.environ, tmp_path / "a.log")
    parent = parent_of(child.pid)
    os.kill(parent, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    with pytest.raises(StageFailed):
        nursery.start(("--version",), os.environ, tmp_path / "a.log")
    os.kill(child.pid, signal.SIGKILL)


def test_its_own_last_words_say_why_it_cannot_start_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "posetask.runtime.nursery.COMMAND", (sys.executable, "-c", "raise OSError('no room')")
    )
    broken = Nursery(tmp_path / "nursery.log", os.environ)
    broken.open()
    with pytest.raises(StageFailed, match="no room"):
        broken.start(("--version",), os.environ, tmp_path / "a.log")
    broken.close()
