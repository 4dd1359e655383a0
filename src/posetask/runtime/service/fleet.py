"""The services of one machine: started together, watched, started anew with back-off, their logs joined."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import ValidationError

from posetask.runtime.children import COMMAND
from posetask.runtime.reports import Failure, error_of
from posetask.runtime.service.state import ADDRESS, lock_folder
from posetask.storage.durable import write_durably

logger = logging.getLogger(__name__)

DIRECTORY = "services.json"
"""In the fleet's folder: where each service listens."""
LONGEST_BACKOFF_SECONDS = 30.0
CALM_SECONDS = 60.0
"""A service that lived so long has earned a quick new start."""
PROBE_SECONDS = 5.0
MOST_SILENT_PROBES = 6
_TURN_SECONDS = 0.1

Say = Callable[[str, str], None]
"""Told every line that a service writes, and its name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A service to keep running.

    Attributes:
        stage: What it serves.
        listen: ``host:port``; port 0 takes any.
        number: Of several of the same stage.
        arguments: More options of ``posetask service``.
    """

    stage: str
    listen: str
    number: int = 0
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In logs, and of its folder.

        >>> Member("yolox", "127.0.0.1:0").name, Member("yolox", "127.0.0.1:0", 1).name
        ('yolox', 'yolox-1')
        """
        return f"{self.stage}-{self.number}" if self.number else self.stage


class ServiceProcess:
    """The process of one member.

    Args:
        member: What it is.
        folder: Of the fleet; the service's state lies in it.
        environment: Over ours.
        say: Told its lines.
        command: What ``service NAME …`` is said to.

    Attributes:
        starts: How often it was started.
        url: Where it listens, from when it first said so; it comes back there.
    """

    def __init__(
        self,
        member: Member,
        folder: Path,
        environment: Mapping[str, str],
        say: Say,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.member, self.starts = member, 0
        self.url: str | None = None
        self._say, self._state = say, folder / member.name
        self._last_words = folder / f"{member.name}.last"
        self._environment = {
            **os.environ,
            **environment,
            "POSETASK_TERMINATION_LOG": str(self._last_words),
            "PYTHONUNBUFFERED": "1",
        }
        self._command = (*command, "service", member.stage)
        self._arguments = ("--state", str(self._state), "--with-parent", *member.arguments)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._began = self._again_at = self._probe_at = 0.0
        self._quick_deaths = self._silent = 0
        self._listens = False

    @property
    def pid(self) -> int | None:
        """Of the process while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def ready(self) -> bool:
        """It listens and its model is loaded."""
        return self.pid is not None and self._listens

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        self._listens, self._silent, self._began = False, 0, time.monotonic()
        listen = self.url.partition("://")[2] if self.url is not None else self.member.listen
        for stale in (self._last_words, self._state / ADDRESS):
            stale.unlink(missing_ok=True)
        self._process = process = subprocess.Popen(  # noqa: S603 - our own command
            [*self._command, "--listen", listen, *self._arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is the parent's: it ends them in order
        )
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def tend(self) -> None:
        """See how it is, and start it anew where that is due.

        Raises:
            PoseTaskError: It cannot be started, and trying again changes nothing.
        """
        process = self._process
        if process is None:
            if time.monotonic() >= self._again_at:
                self.start()
            return
        code = process.poll()
        if code is None:
            self._probe(process)
            return
        self._process = None
        if self._reader is not None:
            self._reader.join(1.0)
        said = self._words()
        if self.url is None and said is not None and not said.retryable:
            raise error_of(said)
        self._quick_deaths = self._quick_deaths + 1 if time.monotonic() - self._began < CALM_SECONDS else 1
        pause = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (self._quick_deaths - 1))
        self._again_at = time.monotonic() + pause
        how = f"died of signal {-code}" if code < 0 else f"ended with {code}"
        self._say(self.member.name, f"{how}; started anew in {pause:.0f} s")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def finish(self) -> None:
        """It has ended: hear its last lines."""
        if self._reader is not None:
            self._reader.join(2.0)
        self._last_words.unlink(missing_ok=True)

    def _probe(self, process: subprocess.Popen[str]) -> None:
        now = time.monotonic()
        if not self._listens:
            with suppress(OSError):
                self.url = (self._state / ADDRESS).read_text()
                self._listens, self._probe_at = True, now + PROBE_SECONDS
            return
        if now < self._probe_at:
            return
        self._probe_at = now + PROBE_SECONDS
        try:
            answered = httpx.get(f"{self.url}/healthz", timeout=PROBE_SECONDS, trust_env=False).is_success
        except httpx.HTTPError:
            answered = False
        self._silent = 0 if answered else self._silent + 1
        if self._silent >= MOST_SILENT_PROBES:
            self._say(self.member.name, f"did not answer {self._silent} times; killed")
            process.kill()

    def _read(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout:
                for line in process.stdout:
                    self._say(self.member.name, line.rstrip("\n"))

    def _words(self) -> Failure | None:
        try:
            return Failure.model_validate_json(self._last_words.read_text())
        except (OSError, ValidationError):
            return None


class Fleet:
    """Keeps services running until it is told to leave.

    Args:
        members: The services; those of one stage are numbered.
        folder: For their states, and :data:`DIRECTORY`; one fleet at a time.
        environment: How they reach the brokers, and their token; over ours.
        say: Told every line of every service.
        grace_seconds: For them to leave, before they are killed.
        command: What ``service NAME …`` is said to.

    Raises:
        NotAvailable: Another fleet works in the folder.
        OutputError: It cannot be written.
    """

    def __init__(
        self,
        members: Sequence[Member],
        folder: Path,
        environment: Mapping[str, str],
        say: Say,
        *,
        grace_seconds: float = 20.0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._lock = lock_folder(folder, "set of services")
        self._folder, self._say, self._grace = folder.absolute(), say, grace_seconds
        arguments = ("--grace-seconds", str(grace_seconds))
        self.processes = {
            m.name: ServiceProcess(
                Member(m.stage, m.listen, m.number, (*m.arguments, *arguments)),
                self._folder,
                environment,
                say,
                command,
            )
            for m in members
        }
        self._leaving = threading.Event()

    @property
    def directory(self) -> dict[str, list[str]]:
        """Where the services of each stage listen, as far as they did once."""
        out: dict[str, list[str]] = {}
        for process in self.processes.values():
            if process.url is not None:
                out.setdefault(process.member.stage, []).append(process.url)
        return out

    def run(self, on_ready: Callable[[dict[str, list[str]]], None] = lambda directory: None) -> None:
        """Keep them running until :meth:`leave`; all have ended when this returns.

        Args:
            on_ready: Called once, when all of them are.

        Raises:
            PoseTaskError: One cannot be started at all; the others are ended.
        """
        told, written = False, None
        try:
            while not self._leaving.wait(_TURN_SECONDS):
                for process in self.processes.values():
                    process.tend()
                directory = self.directory
                if directory != written:
                    write_durably(self._folder / DIRECTORY, json.dumps(directory, indent=2).encode())
                    written = directory
                if not told and all(process.ready for process in self.processes.values()):
                    told = True
                    on_ready(directory)
        finally:
            self._end()

    def leave(self) -> None:
        """End all in good order. From any thread or signal handler."""
        self._leaving.set()

    def _end(self) -> None:
        processes = list(self.processes.values())
        for process in processes:
            process.send(signal.SIGTERM)
        # A service takes its grace for its tasks, and some seconds to close its clients.
        deadline = time.monotonic() + self._grace + 15.0
        while any(process.pid for process in processes):
            if time.monotonic() > deadline:
                for process in processes:
                    process.send(signal.SIGKILL)
            time.sleep(0.05)
        for process in processes:
            process.finish()
        (self._folder / DIRECTORY).unlink(missing_ok=True)
        os.close(self._lock)
