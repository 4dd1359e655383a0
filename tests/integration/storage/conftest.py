"""A real S3 server for this folder's tests: versitygw over a folder (`make kube-build` builds it)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from posetask.storage.s3 import S3, S3Settings

ROOT = Path(__file__).parents[3]
if str(ROOT / "scripts") not in sys.path:
    sys.path.insert(0, str(ROOT / "scripts"))


@dataclass(frozen=True)
class ObjectStore:
    """A running server; ``results`` and ``videos`` are its buckets, as folders."""

    environment: dict[str, str]
    folder: Path
    pid: int

    def client(self) -> S3:
        return S3(S3Settings.from_environment(self.environment), timeout=5)


def program() -> Path:
    from kubelib.tools import TOOLS

    tool = next((tool for tool in TOOLS if tool.name == "versitygw"), None)
    found = tool.home / "versitygw" if tool is not None else Path()
    if not found.is_file():
        pytest.skip("no S3 server: run `make kube-build ARGS=versitygw`")
    return found


@pytest.fixture
def start_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ObjectStore]]:
    """Starts servers of one's own; all end with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> ObjectStore:
        folder = tmp_path_factory.mktemp("s3")
        for bucket in ("results", "videos"):
            (folder / bucket).mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = (folder.parent / f"{folder.name}.log").open("wb")
        server = subprocess.Popen(
            [program(), "--quiet", "--port", f"127.0.0.1:{port}", "posix", folder],
            env={"ROOT_ACCESS_KEY": "tester", "ROOT_SECRET_KEY": "secret-of-tests"},
            stdout=log,
            stderr=log,
        )
        log.close()
        running.append(server)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, (folder.parent / f"{folder.name}.log").read_text()
                time.sleep(0.05)
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
        }
        return ObjectStore(variables, folder, server.pid)

    yield start
    for server in running:
        server.kill()
        server.wait(10)


@pytest.fixture
def object_store(start_store: Callable[[], ObjectStore], monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A server that this process's environment names, too."""
    store = start_store()
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store
