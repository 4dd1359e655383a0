"""Fixtures for tests that need more than Python: a browser, a Kafka broker."""

from __future__ import annotations

import http.server
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

KAFKA = Path(__file__).parents[2] / "scripts" / "kafka"
Watch = Callable[[Path, str], dict[str, Any]]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kafka: needs a Kafka broker (Java and Maven, or POSETASK_KAFKA)")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; Debian's package is ``chromium``."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine: run `make setup-real`")


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, without byte ranges, and takes one JSON report by POST."""

    reports: queue.Queue[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reports.put(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def watch(chromium: str, tmp_path: Path) -> Iterator[Watch]:
    """``watch(folder, page)`` opens ``page`` (HTML) over ``folder`` in Chromium and returns what it posts."""
    running: list[subprocess.Popen[bytes]] = []
    servers: list[http.server.ThreadingHTTPServer] = []

    def open_page(folder: Path, page: str) -> dict[str, Any]:
        (folder / "page.html").write_text(page)
        handler = type("Handler", (_Handler,), {"reports": queue.Queue()})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/page.html"
        with (tmp_path / "chromium.log").open("wb") as log:
            profile = f"--user-data-dir={tmp_path / 'profile'}"
            running.append(subprocess.Popen([chromium, *FLAGS, profile, url], stdout=log, stderr=log))
        try:
            report: dict[str, Any] = handler.reports.get(timeout=45)
        except queue.Empty:
            said = (tmp_path / "chromium.log").read_text(errors="replace")[-2000:]
            pytest.fail(f"Chromium did not report within 45 s; it said: {said}")
        return report

    yield open_page
    for process in running:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    for server in servers:
        server.shutdown()
        server.server_close()


MP4_PAGE = """<!doctype html><video muted></video><script>
const video = document.querySelector("video");
const report = (body) => fetch("/report", {method: "POST", body: JSON.stringify(body)});
const pixel = (x, y) => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
};
video.onerror = () => report({error: video.error.code + " " + video.error.message});
video.onended = () => report({
  ended: video.ended, time: video.currentTime, duration: video.duration,
  width: video.videoWidth, height: video.videoHeight,
  frames: video.getVideoPlaybackQuality().totalVideoFrames,
  audio: video.webkitAudioDecodedByteCount,
  left: pixel(video.videoWidth / 4, video.videoHeight / 2),
  right: pixel(video.videoWidth * 3 / 4, video.videoHeight / 2),
});
video.defaultPlaybackRate = video.playbackRate = RATE;
SOURCE
video.play().catch((error) => report({error: String(error)}));
</script>"""

FILE = 'video.src = "out.mp4";'


@pytest.fixture(scope="session")
def page() -> Callable[..., str]:
    """``page(source, rate)``: plays ``out.mp4`` (or what ``source`` sets) at ``rate``."""

    def make(source: str = FILE, rate: int = 1) -> str:
        return MP4_PAGE.replace("SOURCE", source).replace("RATE", str(rate))

    return make


@dataclass(frozen=True)
class Broker:
    """A running broker; ``folder`` is None for one that is not ours."""

    bootstrap: str
    folder: Path | None

    def command(self, *arguments: str) -> str:
        assert self.folder is not None
        return run_script(*arguments, "--dir", str(self.folder))

    @property
    def pid(self) -> int:
        assert self.folder is not None
        return int((self.folder / "pid").read_text())


def run_script(*arguments: str) -> str:
    done = subprocess.run([sys.executable, KAFKA, *arguments], capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(
            f"no Kafka broker: {done.stderr.strip()[:300]} (run: make setup-real, or set POSETASK_KAFKA)"
        )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def make_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Broker]]:
    """Starts a broker of one's own; all are stopped at the end."""
    folders: list[Path] = []

    def make(*settings: str) -> Broker:
        folder = tmp_path_factory.mktemp("kafka")
        folders.append(folder)
        options = [part for setting in settings for part in ("--set", setting)]
        # A pytest that is killed hard stops nothing itself.
        tied = ("--with-process", str(os.getpid()))
        return Broker(run_script("start", "--dir", str(folder), *tied, *options), folder)

    yield make
    for folder in folders:
        subprocess.run([sys.executable, KAFKA, "stop", "--dir", folder], capture_output=True, timeout=120)


@pytest.fixture(scope="session")
def broker(make_broker: Callable[..., Broker]) -> Broker:
    """The session's broker: every test makes names of its own."""
    given = os.environ.get("POSETASK_KAFKA")
    return Broker(given, None) if given else make_broker()
