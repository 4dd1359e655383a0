"""A control plane on loopback: etcd, API server, controller manager, and on demand scheduler and kwok."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from kubelib import kubeconfig
from kubelib.api import Api
from kubelib.certs import Authority
from kubelib.errors import KubeFailed
from kubelib.kwok import configuration
from kubelib.ports import free_ports
from kubelib.process import Process
from kubelib.tools import need

ETCD, API_SERVER, CONTROLLERS, SCHEDULER, KWOK = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
)
PARTS = (ETCD, API_SERVER, CONTROLLERS, SCHEDULER, KWOK)
"""In the order of their start."""
CORE = PARTS[:3]
SERVICES = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
READY_SECONDS = 60
ATTEMPTS = 3  # a free port can be lost between the look and the start


class Cluster:
    """The control plane of one folder.

    Args:
        folder: Data, certificates, logs, pid files and ``kubeconfig``.
        tied: The programs die with this process; else they outlive it, and another call finds them.
        address: Where the API server listens.
    """

    parts: tuple[str, ...] = PARTS
    """What there is, in the order of their start."""

    def __init__(self, folder: Path, tied: bool, address: str = "127.0.0.1") -> None:
        self.folder = folder.resolve()
        self.kubeconfig = self.folder / "kubeconfig"
        self.tied = tied
        self.address = address
        self._parts = {name: Process(name, self.folder) for name in self.parts}
        self._ports = self.folder / "ports.json"
        self._environment = {"PATH": os.defpath, "HOME": str(self.folder)}  # no proxy, no caller's settings

    def part(self, name: str) -> Process:
        """One of the programs."""
        if name not in self._parts:
            raise KubeFailed(f"no part {name!r}; there are {', '.join(self.parts)}")
        return self._parts[name]

    @property
    def running(self) -> list[str]:
        """The parts that run, in order of start."""
        return [name for name, part in self._parts.items() if part.pid is not None]

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://{self.address}:{self._read_ports()[API_SERVER]}"

    def start(self, parts: Iterable[str] = CORE) -> None:
        """Start what does not run yet; returns when the API server and the controllers answer.

        Raises:
            KubeFailed: A program is missing or does not start; the end of its log is in the message.
        """
        wanted = [name for name in self.parts if name in set(parts)]
        for name in wanted:
            self.program(name)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for attempt in range(ATTEMPTS):
            try:
                for name in wanted:
                    self._start(name)
                return
            except KubeFailed:
                taken = any(
                    b"address already in use" in self.part(name).log.read_bytes()
                    for name in (ETCD, API_SERVER)
                    if self.part(name).log.is_file()
                )
                self.stop()
                if not taken or attempt == ATTEMPTS - 1:
                    raise
                self._ports.unlink(missing_ok=True)
                for name in (ETCD, API_SERVER):
                    self.part(name).log.unlink(missing_ok=True)

    def stop(self) -> list[str]:
        """End all parts, the last started first; says which ran. The data stay."""
        return [name for name in reversed(self.parts) if self._parts[name].stop()]

    def program(self, name: str) -> Path:
        """The program of a part.

        Raises:
            KubeFailed: It is not there.
        """
        return need(name)

    def restart(self, name: str) -> None:
        """Start a part again that was stopped or killed, on its old port and data."""
        self._parts[name].stop()
        self._start(name)

    def _start(self, name: str) -> None:
        part = self._parts[name]
        if part.pid is not None:
            return
        part.start(self._command(name), self.tied, self._environment)
        if name == API_SERVER:
            self._wait(name, self._api_answers)
        elif name == CONTROLLERS:
            self._wait(name, self._controllers_work)
        elif part.pid is None:
            raise KubeFailed(f"{name} ended at once; {part.tail()}")

    def _wait(self, name: str, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not check():
            for one in (ETCD, name):
                if self.part(one).pid is None:
                    raise KubeFailed(f"{one} ended while it started; {self.part(one).tail()}")
            if time.monotonic() > deadline:
                raise KubeFailed(f"{name} is not ready after {READY_SECONDS} s; {self.part(name).tail()}")
            time.sleep(0.05)

    def _api_answers(self) -> bool:
        api = Api(self.kubeconfig)
        try:
            return api.ready()
        finally:
            api.close()

    def _controllers_work(self) -> bool:
        """The first sign of life: the default account, without which no pod is admitted."""
        api = Api(self.kubeconfig)
        try:
            return api.find("v1", "serviceaccounts", "default", "default") is not None
        finally:
            api.close()

    def _read_ports(self) -> dict[str, int]:
        if not self._ports.is_file():
            names = (ETCD, "etcd-peers", API_SERVER)
            self._ports.write_text(json.dumps(dict(zip(names, free_ports(3), strict=True))))
        ports: dict[str, int] = json.loads(self._ports.read_text())
        return ports

    def _command(self, name: str) -> list[str | Path]:
        ports = self._read_ports()
        authority = Authority(self.folder / "pki")
        if name == ETCD:
            client, peer = (f"http://127.0.0.1:{ports[one]}" for one in (ETCD, "etcd-peers"))
            return [
                need(name),
                f"--data-dir={self.folder / 'etcd-data'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # the data are for tests
                "--log-level=warn",
            ]
        if name == API_SERVER:
            return self._api_server(ports, authority)
        if name == KWOK:
            (self.folder / "kwok.yaml").write_text(configuration())
            return [
                need(name),
                f"--kubeconfig={self._client('system:kwok', 'system:masters', authority)}",
                f"--config={self.folder / 'kwok.yaml'}",
            ]
        user = f"system:{name}"
        client_config = self._client(user, None, authority)
        command: list[str | Path] = [need(name), f"--kubeconfig={client_config}", "--leader-elect=false"]
        if name == CONTROLLERS:
            command += [
                "--secure-port=0",
                f"--root-ca-file={authority.certificate}",
                f"--service-account-private-key-file={authority.service_accounts()}",
                "--use-service-account-credentials=true",  # the rights of each controller
                "--kube-api-qps=500",
                "--kube-api-burst=1000",
                "--concurrent-job-syncs=20",
                "--concurrent-gc-syncs=40",
                "--concurrent-namespace-syncs=20",
                "--node-monitor-period=1s",  # a node that went away is noticed soon
                "--node-monitor-grace-period=20s",
            ]
        else:
            command += ["--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"]
        return command

    def _api_server(self, ports: dict[str, int], authority: Authority) -> list[str | Path]:
        server = authority.server("kube-apiserver", SERVICE_ADDRESS, self.address)
        admin = authority.client("posetask-admin", "system:masters")
        kubeconfig.write(self.kubeconfig, self.server, authority.certificate, admin)
        accounts = authority.service_accounts()
        return [
            need(API_SERVER),
            f"--etcd-servers=http://127.0.0.1:{ports[ETCD]}",
            f"--bind-address={self.address}",
            f"--secure-port={ports[API_SERVER]}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={authority.certificate}",
            f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICES}",
            "--endpoint-reconciler-type=none",  # loopback is no address for the `kubernetes` service
            "--authorization-mode=Node,RBAC",
            "--enable-priority-and-fairness=false",  # a test's burst is not to be throttled
            "--max-requests-inflight=1000",
            "--max-mutating-requests-inflight=500",
        ]

    def _client(self, user: str, group: str | None, authority: Authority) -> Path:
        pair = authority.client(user, group)
        path = self.folder / f"{user.removeprefix('system:')}.kubeconfig"
        return kubeconfig.write(path, self.server, authority.certificate, pair)
