"""`posetask serve` as its users meet it: a real process on loopback, real clips, and all that goes wrong."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

pytestmark = pytest.mark.timeout(400)

TOKEN = "a-token-of-these-tests"  # noqa: S105 - of these tests
MOST_BYTES = 2_000_000


class Server:
    """One process of `posetask serve`."""

    def __init__(self, data: Path, models: tuple[Path, Path], *more: str, token: str = "") -> None:
        self.data = data
        command = [sys.executable, "-m", "posetask", "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        command += ["--detector", str(models[0]), "--pose", str(models[1]), *more]
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, "POSETASK_API_TOKEN": token, "NO_COLOR": "1", "COLUMNS": "200"},
            )
        begin, deadline, found = self.log.stat().st_size, time.monotonic() + 150, None
        while found is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
            said = self.log.read_bytes()[max(0, begin - 200) :].decode()
            found = re.findall(r"listening on (http://\S+),", said)[-1:] or None
        self.url = found[0]
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        while True:  # bound before it answers
            try:
                if self.http.get("/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
            assert time.monotonic() < deadline

    def upload(self, data: bytes | Path, name: str = "walk.mp4", **more: Any) -> httpx.Response:
        content = data.read_bytes() if isinstance(data, Path) else data
        return self.http.post("/upload", files={"file": (name, content)}, **more)

    def wait(self, task_id: str, *states: str, seconds: float = 300) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            status: dict[str, Any] = self.http.get(f"/status/{task_id}").json()
            if status["status"] in states:
                return status
            assert time.monotonic() < deadline, f"{status} {self.log.read_text()[-2000:]}"
            time.sleep(0.1)

    def workers(self) -> list[int]:
        """Pids of its workers."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"posetask_api.local.worker" in line and str(self.data).encode() in line:
                    found.append(int(entry.name))
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.http.close()
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def start(tiny_models: tuple[Path, Path]) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def started(data: Path, *more: str, token: str = "") -> Server:
        running.append(Server(data, tiny_models, *more, token=token))
        return running[-1]

    yield started
    for server in running:
        server.http.close()
        server.process.kill()
        server.process.wait(20)


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    return start(tmp_path_factory.mktemp("api") / "data", "--most-bytes", str(MOST_BYTES))


@pytest.fixture(scope="module")
def done(server: Server, red_clip: Path) -> dict[str, Any]:
    """A task that is completed."""
    answer = server.upload(red_clip, "../My walk.mp4", headers={"X-Request-ID": "req-1"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["X-Request-ID"] == "req-1"
    accepted = answer.json()
    assert sorted(accepted) == ["message", "stream_url", "task_id"]
    assert answer.headers["Location"] == f"/status/{accepted['task_id']}"
    return server.wait(accepted["task_id"], "completed", "failed")


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1500 frames of 320x180."""
    import numpy as np

    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "30", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        for i in range(1500):
            image = np.full((180, 320, 3), 90, np.uint8)
            x = round(130 + 120 * np.sin(i / 20))
            image[60:108, x : x + 48] = (0, 0, 255)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(video.encode(None))
    return path


def frames_in(data: bytes) -> int:
    with av.open(io.BytesIO(data)) as container:
        return sum(1 for _ in container.decode(video=0))


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["title"]
    assert problem["instance"].startswith("/")
    assert answer.headers["X-Request-ID"]
    return problem


def test_an_upload_becomes_an_annotated_video(server: Server, done: dict[str, Any]) -> None:
    assert (done["status"], done["progress"], done["frames"], done["frames_total"]) == (
        "completed",
        "100%",
        40,
        40,
    )
    assert (done["name"], done["error"]) == ("My-walk.mp4", None)
    assert done["created"] <= done["started"] <= done["ended"]
    answer = server.http.get(done["result_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert 'filename="My-walk-posetask.mp4"' in answer.headers["content-disposition"]
    assert frames_in(answer.content) == 40
    assert not list((server.data / "incoming").iterdir())


def test_parts_of_the_result_are_given(server: Server, done: dict[str, Any]) -> None:
    url = done["result_url"]
    whole = server.http.get(url).content
    part = server.http.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    end = server.http.get(url, headers={"Range": "bytes=-7"})
    assert (end.status_code, end.content) == (206, whole[-7:])
    for nothing in ("bytes=a-b", "lines=1-2", "bytes=9-3"):
        assert server.http.get(url, headers={"Range": nothing}).status_code == 200
    is_problem(server.http.get(url, headers={"Range": f"bytes={len(whole)}-"}), 416, "RANGE_NOT_SATISFIABLE")
    stale = server.http.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (stale.status_code, stale.content) == (200, whole)


def test_the_stream_plays_what_the_result_shows(server: Server, done: dict[str, Any]) -> None:
    playlist = server.http.get(done["stream_url"])
    assert playlist.headers["content-type"].startswith("application/vnd.apple.mpegurl")
    base = done["stream_url"].rpartition("/")[0]
    names = [line for line in playlist.text.splitlines() if line and not line.startswith("#")]
    data = b"".join(server.http.get(f"{base}/{name}").content for name in ["init.mp4", *names])
    assert frames_in(data) == 40
    is_problem(server.http.get(f"{base}/manifest.json"), 404, "result_not_ready")
    is_problem(server.http.get(f"{base}/..%2fresult.mp4"), 404, "NOT_FOUND")


def truncated(clip: Path) -> bytes:
    """A clip whose index comes last, cut in the middle."""
    return clip.read_bytes()[: clip.stat().st_size // 2]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (lambda clip: b"", 422, "NOT_A_VIDEO"),
        (lambda clip: b"words and words " * 9999, 422, "NOT_A_VIDEO"),
        (lambda clip: b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", 422, "FORMAT_NOT_ALLOWED"),
        (lambda clip: b"\x89PNG\r\n\x1a\n" + bytes(99), 422, "NOT_A_VIDEO"),
        (lambda clip: clip.read_bytes()[:40] + bytes(5000), 422, "TRUNCATED"),
        (truncated, 422, "TRUNCATED"),
        (lambda clip: clip.read_bytes() + bytes(MOST_BYTES), 413, "UPLOAD_TOO_LARGE"),
    ],
    ids=["empty", "text", "playlist", "image", "rubbish", "truncated", "too large"],
)
def test_what_is_no_video_becomes_no_task(
    content: Callable[[Path], bytes], status: int, code: str, server: Server, red_clip: Path
) -> None:
    before = server.http.get("/health").json()
    problem = is_problem(server.upload(content(red_clip)), status, code)
    assert problem["hint"]
    assert str(server.data) not in json.dumps(problem), "no path of the server is told"
    assert server.http.get("/health").json() == before
    assert not list((server.data / "incoming").iterdir())


def test_a_body_without_a_length_is_measured_as_it_comes(server: Server, red_clip: Path) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        yield red_clip.read_bytes()
        for _ in range(MOST_BYTES // 50_000 + 2):
            yield bytes(50_000)
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    is_problem(server.http.post("/upload", content=body(), headers=kind), 413, "UPLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("GET", "/status/task-0123456789abcdef", {}, 404, "UNKNOWN_TASK"),
        ("GET", "/status/..%2f..%2fetc%2fpasswd", {}, 404, "NOT_FOUND"),
        ("GET", "/result/nothing", {}, 404, "UNKNOWN_TASK"),
        ("GET", "/stream/nothing/stream.m3u8", {}, 404, "UNKNOWN_TASK"),
        ("GET", "/nowhere", {}, 404, "NOT_FOUND"),
        ("DELETE", "/upload", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/upload", {"json": {}}, 415, "NOT_A_FORM"),
        ("POST", "/upload", {"files": {"clip": ("a.mp4", b"x")}}, 400, "BAD_FORM"),
        ("GET", "/health", {"headers": {"X-Request-ID": "bad id!"}}, 200, ""),
        ("GET", "/status/x", {"headers": {"Origin": "http://evil.example"}}, 401, "ACCESS_DENIED"),
        ("GET", "/status/x", {"headers": {"Host": "rebound.example"}}, 401, "ACCESS_DENIED"),
    ],
)
def test_what_cannot_be_asked_is_answered_in_one_form(
    method: str, path: str, more: dict[str, Any], status: int, code: str, server: Server
) -> None:
    answer = server.http.request(method, path, **more)
    if status == 200:
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
    else:
        is_problem(answer, status, code)


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: Server, red_clip: Path) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        )
        raw.sendall(red_clip.read_bytes()[:9000])
        deadline = time.monotonic() + 60
        while not list((server.data / "incoming").glob("*/source/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list((server.data / "incoming").glob("*/source/*"))
    while list((server.data / "incoming").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list((server.data / "incoming").iterdir())


def test_prometheus_is_told_without_the_name_of_any_task(server: Server, done: dict[str, Any]) -> None:
    text = server.http.get("/metrics").text
    assert 'posetask_api_requests_total{method="POST",route="/upload",status="202"} 1.0' in text
    assert 'posetask_api_tasks{state="completed"}' in text
    assert "posetask_api_upload_bytes_total" in text
    assert done["task_id"] not in text
    assert "request req-1" in server.log.read_text(), "the id goes through to the task"


def test_an_upload_is_never_whole_in_memory(
    start: Callable[..., Server], tmp_path: Path, red_clip: Path
) -> None:
    server = start(tmp_path / "data")

    def peak() -> int:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
        assert found is not None
        return int(found[1])

    head = red_clip.read_bytes()[:40]  # ftyp, and then a box that never ends

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + head
        for _ in range(200):
            yield bytes(2**20)
        yield b"\r\n--x--\r\n"

    is_problem(server.upload(head + bytes(9999)), 422, "TRUNCATED")  # everything is loaded
    before = peak()
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    is_problem(server.http.post("/upload", content=body(), headers=kind), 422, "TRUNCATED")
    assert peak() - before < 40_000, "200 MiB came in"
    assert server.end() == 0


def test_a_token_opens_all_and_nothing_else_does(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(tmp_path / "data", token=TOKEN)
    for path in ("/health", "/healthz", "/readyz", "/openapi.json"):
        assert server.http.get(path).status_code == 200
    for path in ("/status/x", "/metrics", "/result/x", "/stream/x/stream.m3u8"):
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = server.http.get(path, headers=given)
            is_problem(answer, 401, "ACCESS_DENIED")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert server.http.get("/metrics", headers=good).status_code == 200
    is_problem(server.http.get("/status/x", headers=good), 404, "UNKNOWN_TASK")
    is_problem(server.upload(b"x"), 401, "ACCESS_DENIED")
    assert TOKEN not in server.log.read_text()
    assert server.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_in_the_middle_begins_again_where_it_was(
    number: signal.Signals, start: Callable[..., Server], tmp_path: Path, long_clip: Path, red_clip: Path
) -> None:
    first = start(tmp_path / "data")
    running = first.upload(long_clip).json()["task_id"]
    waiting = first.upload(red_clip).json()["task_id"]
    is_problem(first.http.get(f"/result/{running}"), 404, "result_not_ready")
    deadline = time.monotonic() + 300
    while first.http.get(f"/status/{running}").json()["frames"] < 50:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert first.end(number) == (-9 if number is signal.SIGKILL else 0)
    second = start(tmp_path / "data")
    assert second.http.get(f"/status/{waiting}").json()["status"] == "queued"
    assert second.wait(running, "completed", "failed")["status"] == "completed"
    assert second.wait(waiting, "completed", "failed")["status"] == "completed"
    assert frames_in(second.http.get(f"/result/{running}").content) == 1500
    assert len(second.workers()) <= 1
    assert second.end() == 0


@pytest.mark.slow
def test_a_worker_that_dies_is_started_again_and_not_for_ever(
    start: Callable[..., Server], tmp_path: Path, long_clip: Path
) -> None:
    server = start(tmp_path / "data", "--most-waiting", "0")
    task_id = server.upload(long_clip).json()["task_id"]
    second = server.upload(long_clip)
    assert second.status_code == 202
    busy = server.upload(long_clip)
    is_problem(busy, 503, "QUEUE_FULL")
    assert busy.headers["Retry-After"]
    deadline, killed = time.monotonic() + 300, 0
    while (status := server.http.get(f"/status/{task_id}").json())["status"] != "failed":
        assert time.monotonic() < deadline, status
        if status["status"] == "running" and killed < 3:
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.2)
    assert (status["error"]["code"], status["result_url"]) == ("STAGE_FAILED", None)
    assert "signal 9, 3 times" in status["error"]["message"]
    is_problem(server.http.get(f"/result/{task_id}"), 404, "TASK_FAILED")
    assert server.wait(second.json()["task_id"], "completed", "failed")["status"] == "completed"
    assert server.end() == 0


def test_a_second_server_is_kept_out_of_the_folder(server: Server, tiny_models: tuple[Path, Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "posetask",
        "serve",
        "--data",
        str(server.data),
        "--listen",
        "127.0.0.1:0",
    ]
    models = ["--detector", str(tiny_models[0]), "--pose", str(tiny_models[1])]
    for arguments, code, words in (
        (command + models, 25, "another server works in"),
        ([*command, "--models", "demo", "--listen", "0.0.0.0:0"], 20, "needs a token"),
        ([*command, "--detector", "none-of-this-name", "--pose", "demo"], 21, "none-of-this-name"),
        ([*command, "--models", "demo", "--detector", "x"], 20, "--models"),
    ):
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            timeout=150,
            env={**os.environ, "COLUMNS": "300", "POSETASK_API_TOKEN": ""},
        )
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
