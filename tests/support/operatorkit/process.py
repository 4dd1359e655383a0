"""The real operator in a process of its own: started, killed, frozen, and asked how it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from kubelib.errors import KubeFailed
from kubelib.ports import free_ports
from kubelib.process import TIE

SYSTEM = "posetask-system"


def settings(
    installation: str,
    bootstrap: str,
    *,
    namespace: str = SYSTEM,
    gpus: int | None = 1_000,
    timings: Mapping[str, int] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Settings of an operator of tests: quick, five stages without images, results below a bucket.

    Args:
        installation: Id.
        bootstrap: Of the brokers, for the pods.
        namespace: Of the operator: its Lease.
        gpus: Budget of the default profile; None counts what the nodes have.
        timings: Over those of the tests.
        more: Sections as they stand in the file.
    """
    quick = {"progress_every": 1, "settle": 1, "cleanup_retry": 1, "retry_base": 1, "requeue_base": 1}
    return {
        "installation": installation,
        "namespace": namespace,
        "image": "localhost/posetask/stages:test",
        "profiles": {"default": {"accelerator": "nvidia.com/gpu", "gpus": gpus}},
        "kafka": {"bootstrap": bootstrap, "replication": 1, "partition_budget": 20_000},
        "storage": {
            "root": "s3://results",
            "default": {"sources": ["s3://", "synth:"], "service_account": "default"},
        },
        "timings": {**quick, **(timings or {})},
        **more,
    }


class Operator:
    """One replica. Use it as a context.

    Args:
        folder: Of its settings and log.
        values: As :func:`settings` makes them.
        kubeconfig: Of the API server, or of the proxy before it.
        bootstrap: Its own way to the brokers, a proxy perhaps; None = that of the settings.
        name: Of its files.
        options: More of the command line.
    """

    def __init__(
        self,
        folder: Path,
        values: Mapping[str, Any],
        kubeconfig: Path,
        *,
        bootstrap: str | None = None,
        name: str = "operator",
        options: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        self._file = folder / f"{name}.yaml"
        self._file.write_text(yaml.safe_dump(dict(values)))
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("POSETASK_")},
            "KUBECONFIG": str(kubeconfig),
            "POSETASK_KAFKA": bootstrap or str(values["kafka"]["bootstrap"]),
        }
        self._options = tuple(options)
        self._child: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.port = 0

    def __enter__(self) -> Operator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """None where it does not run."""
        if self._child is None or self._child.poll() is not None:
            return None
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Of the last one; None where it runs."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start it where it does not run; it dies with this process."""
        if self.pid is not None:
            return
        (self.port,) = free_ports(1)
        command = [sys.executable, "-m", "posetask_operator", "--settings", str(self._file)]
        command += ["--listen", f"127.0.0.1:{self.port}", *self._options]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-S", str(TIE), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        self.starts += 1

    def signal(self, number: int) -> None:
        """SIGKILL, SIGSTOP, SIGCONT, SIGTERM."""
        if self._child is not None and self._child.poll() is None:
            os.kill(self._child.pid, number)

    def kill(self) -> None:
        """End it in the middle of what it does, and see to it that it has ended."""
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait(30)

    def stop(self) -> int | None:
        """Ask it to end; its exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self._child is None:
            return None
        try:
            return self._child.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

    def get(self, path: str) -> httpx.Response | None:
        """``/healthz``, ``/readyz`` or ``/metrics``; None where it does not answer."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return None

    def metric(self, name: str) -> float:
        """Sum of a metric's samples; 0 where there is none."""
        answer = self.get("/metrics")
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", answer.text if answer else "", re.M)
        return sum(map(float, found))

    @property
    def leads(self) -> bool:
        """Whether it holds the lease, by its own metric."""
        return self.metric("leader_election_master_status") > 0

    def wait_ready(self, seconds: float = 60) -> None:
        """Until /readyz says yes.

        Raises:
            KubeFailed: It ended, or did not.
        """
        deadline = time.monotonic() + seconds
        while (answer := self.get("/readyz")) is None or answer.status_code != 200:
            if self.pid is None or time.monotonic() > deadline:
                code = self.exit_code
                raise KubeFailed(f"the operator is not ready (exit code {code}); {self.tail()}")
            time.sleep(0.05)

    @property
    def rss_mib(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS")

    @property
    def peak_rss_mib(self) -> float:
        """The most that it ever had."""
        return self._status("VmHWM")

    def _status(self, key: str) -> float:
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0.0
        found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.M)
        return int(found[1]) / 1024 if found else 0.0

    def tail(self, count: int = 3_000) -> str:
        """The end of its log."""
        return f"its log {self.log} ends with\n{self.log.read_text(errors='replace')[-count:]}"
