"""Services kept running: started anew with back-off, given up where that is no use, ended together."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from posetask.errors import InvalidParameters, ModelNotInstalled, SourceNotFound, Unavailable
from posetask.runtime.service import fleet as fleet_module
from posetask.runtime.service.client import ServiceClient, read_directory
from posetask.runtime.service.fleet import Fleet, Member

WaitFor = Callable[..., None]
Open = Callable[..., Any]

# Understands what `posetask service NAME …` is told; its last argument says how it behaves.
SCRIPT = """
import http.server, json, os, pathlib, signal, sys, threading
arguments = sys.argv[1:]
name, state = arguments[1], pathlib.Path(arguments[arguments.index("--state") + 1])
how, listen = arguments[-3], arguments[arguments.index("--listen") + 1]
state.mkdir(parents=True, exist_ok=True)
if how == "missing":
    words = {"reason": "ModelNotInstalled", "message": "it is not here", "exit_code": 21}
    pathlib.Path(os.environ["POSETASK_TERMINATION_LOG"]).write_text(json.dumps(words))
    sys.exit(21)
status = 503 if how == "silent" else 200
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(listen.rpartition(":")[2])), Handler)
(state / "address").write_text(f"http://127.0.0.1:{server.server_port}")
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("here I am", flush=True)
server.serve_forever()
print("I leave", flush=True)
"""


class Running:
    """A fleet of scripts, and what it says."""

    def __init__(self, folder: Path, **behaviours: str) -> None:
        self.lines: list[tuple[str, str]] = []
        self.failure: BaseException | None = None
        self.ready = threading.Event()
        members = [Member(name, "127.0.0.1:0", arguments=(how,)) for name, how in behaviours.items()]
        command = (sys.executable, "-c", SCRIPT)
        self.fleet = Fleet(
            members, folder, {}, lambda *line: self.lines.append(line), grace_seconds=5, command=command
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.fleet.run(lambda directory: self.ready.set())
        except BaseException as error:
            self.failure = error

    def end(self) -> None:
        self.fleet.leave()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def run_fleet(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def run(**behaviours: str) -> Running:
        made.append(Running(tmp_path / "fleet", **behaviours))
        return made[-1]

    yield run
    for running in made:
        running.end()


def test_all_start_say_where_they_are_and_end_together(
    run_fleet: Callable[..., Running], tmp_path: Path
) -> None:
    running = run_fleet(yolox="well", annotator="well")
    assert running.ready.wait(30)
    directory = read_directory(str(tmp_path / "fleet" / "services.json"))
    assert directory == running.fleet.directory
    assert set(directory) == {"yolox", "annotator"}
    running.end()
    assert running.failure is None
    for name in ("yolox", "annotator"):
        assert [line for who, line in running.lines if who == name] == ["here I am", "I leave"]
    assert not (tmp_path / "fleet" / "services.json").exists()


def test_one_that_is_killed_comes_back_where_it_was_the_others_stay(
    run_fleet: Callable[..., Running], wait_for: WaitFor
) -> None:
    running = run_fleet(yolox="well", annotator="well")
    assert running.ready.wait(30)
    victim, other = (running.fleet.processes[name] for name in ("yolox", "annotator"))
    pid, url = other.pid, victim.url
    victim.send(signal.SIGKILL)
    wait_for(lambda: victim.starts == 2 and victim.ready)
    assert ("yolox", "died of signal 9; started anew in 1 s") in running.lines
    assert (other.pid, victim.url) == (pid, url)


def test_one_that_can_never_start_ends_them_all_with_its_error(run_fleet: Callable[..., Running]) -> None:
    running = run_fleet(annotator="well", yolox="missing")
    running.thread.join(30)
    assert isinstance(running.failure, ModelNotInstalled)
    assert running.failure.message == "it is not here"
    assert not any(process.pid for process in running.fleet.processes.values())


def test_one_that_no_longer_answers_is_killed_and_started_anew(
    run_fleet: Callable[..., Running], wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(fleet_module, "MOST_SILENT_PROBES", 2)
    running = run_fleet(yolox="silent")
    wait_for(lambda: ("yolox", "did not answer 2 times; killed") in running.lines, 30)
    wait_for(lambda: running.fleet.processes["yolox"].starts >= 2, 30)


def test_tasks_go_to_the_service_that_has_least_to_do_and_are_found_again(
    open_service: Open, tmp_path: Path
) -> None:
    one, other = (open_service(state=tmp_path / name) for name in "ab")
    with ServiceClient({"bytetrack": [one.url, other.url]}) as client:
        client.wait_until_ready(20)
        for number in range(4):
            client.start("bytetrack", {"task_id": f"t{number}"})
        assert [len(resident.service.tasks().tasks) for resident in (one, other)] == [2, 2]
        assert client.start("bytetrack", {"task_id": "t3"}).task_id == "t3", "known there, not begun here"
        for number in range(4):
            assert client.status("bytetrack", f"t{number}").task_id == f"t{number}"
        assert client.stop_everywhere("t2") == []
        assert len(client.tasks()) == 4
        assert [health.service for health in client.health("bytetrack")] == ["bytetrack", "bytetrack"]


def test_services_that_are_not_there_are_named() -> None:
    with ServiceClient({"yolox": ["http://127.0.0.1:9"]}) as client:
        with pytest.raises(Unavailable, match="cannot be reached"):
            client.info("yolox")
        with pytest.raises(Unavailable, match="no annotator service"):
            client.info("annotator")
        with pytest.raises(Unavailable, match="not ready"):
            client.wait_until_ready(0)
        assert [error.reason for error in client.stop_everywhere("a")] == ["Unavailable"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("yolox=here", InvalidParameters),
        ("yolox=http://a,b", InvalidParameters),
        ("none.json", SourceNotFound),
    ],
)
def test_a_bad_directory_says_what_a_good_one_is(text: str, error: Any) -> None:
    with pytest.raises(error) as caught:
        read_directory(text)
    assert caught.value.hint
