"""The dashboard's queries, asked of a real Prometheus that scrapes an operator's and a stage's metrics."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from posetask.telemetry.metrics import StageMetrics, StageSample
from posetask_operator.edge.metrics import OperatorMetrics, Sample

ROOT = Path(__file__).parents[4]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CONFIGURATION = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: posetask-operator
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{pod: operator-0}}}}]
    metrics_path: /operator
  - job_name: posetask-stages
    static_configs:
      - targets: ["127.0.0.1:{port}"]
        labels: {{pod: demo-yolox-0, posetask_io_stage: yolox, posetask_io_task: demo}}
    metrics_path: /stage
"""


def queries() -> list[str]:
    sys.path.insert(0, str(ROOT / "scripts"))
    from chartlib.dashboard import queries

    return queries()


class Source:
    """An operator and a stage at work: everything happens once more at every scrape."""

    def __init__(self) -> None:
        self._frames = itertools.count(100, 25)
        sample = Sample(tasks={"Running": 1}, gpus={"gpu": (1, 8)}, leads=True)
        self.operator = OperatorMetrics(lambda: sample)
        self.stage = StageMetrics("yolox", "1", self._sample)

    def _sample(self) -> StageSample:
        frames = next(self._frames)
        return StageSample(frames=frames, lag={"raw_frames": 3}, written=frames * 1000)

    def render(self, path: str) -> bytes:
        if path == "/stage":
            self.stage.step("yolox.infer", 0.02)
            return self.stage.render()
        m = self.operator
        m.look("success", 0.01)
        m.request("GET", 200, 0.01)
        m.kafka_call("create", 0.1, None)
        m.queue_wait.labels("gpu").observe(3)
        m.finished.labels("succeeded", "Completed").inc()
        m.finished.labels("failed", "NoFrames").inc()
        return m.render()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Prometheus that has scraped for some seconds."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus (run: make setup-real)")
    source = Source()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = source.render(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=server.server_address[1]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(f"http://{address}", running, folder / "log")
        yield f"http://{address}"
    finally:
        running.terminate()
        running.wait(30)
        server.shutdown()
        thread.join()
        server.server_close()


def _wait(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert running.poll() is None, log.read_text()
        try:
            if len(ask(url, "count_over_time(posetask_stage_frames_total[1m]) > 5")) == 1:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"nothing was scraped: {log.read_text()[-2000:]}")


def ask(url: str, query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False, timeout=10)
    said = answer.json()
    assert said["status"] == "success", said
    result: list[dict[str, Any]] = said["data"]["result"]
    return result


@pytest.mark.parametrize("query", queries())
def test_a_query_of_the_dashboard_gives_numbers(prometheus: str, query: str) -> None:
    plain = query.replace("$__rate_interval", "30s").replace("$__range", "5m")
    found = ask(prometheus, plain)
    assert found, plain
    assert all(one["value"][1] not in {"NaN", "+Inf"} for one in found), found


def test_a_stage_is_named_by_the_labels_of_its_pod(prometheus: str) -> None:
    (found,) = ask(prometheus, "sum by (posetask_io_stage) (rate(posetask_stage_frames_total[30s]))")
    assert found["metric"] == {"posetask_io_stage": "yolox"}
    assert float(found["value"][1]) > 0
