"""What a run comes to under each fault: the table of docs/kafka.md, row by row, on a real broker."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from confluent_kafka import Producer

from posetask.errors import PoseTaskError
from posetask.media.inputs import resolve
from posetask.runtime.distributed import DistributedRun
from posetask.runtime.options import RunOptions
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin

pytestmark = [pytest.mark.kafka]
ROOT = Path(__file__).parents[3]
Make = Callable[..., DistributedRun]


@dataclass(frozen=True)
class Row:
    """Of the table. ``frames`` is what the published file holds of the source."""

    fault: str
    exit_code: int
    reason: str
    retryable: bool
    frames: str


TABLE = {
    row.fault: row
    for row in (
        Row("4K frames", 0, "", False, "all"),
        Row("topic ACL denied", 26, "KafkaAccessDenied", False, "none"),
        Row("broker absent at start", 30, "KafkaUnavailable", True, "none"),
        Row("broker lost for 30 s mid-run", 0, "", False, "all"),
        Row("topic deleted under a run", 26, "TopicLost", False, "none"),
        Row("disk full under the broker", 30, "KafkaUnavailable", True, "none"),
        Row("a record that cannot be parsed", 26, "MalformedRecord", False, "none"),
    )
}


def test_the_documentation_has_the_same_table() -> None:
    said = {}
    for line in (ROOT / "docs" / "kafka.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in TABLE and len(cells) >= 5:
            reason = re.sub(r"`|^-$", "", cells[2])
            said[cells[0]] = Row(cells[0], int(cells[1]), reason, cells[3] == "yes", cells[4])
    assert said == TABLE


slow = [pytest.mark.slow, pytest.mark.timeout(500)]


def frames_in(path: Path) -> int:
    if not path.exists():
        return 0
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def write_noise(path: Path, width: int, height: int, frames: int) -> Path:
    """Pictures that no codec makes small."""
    with av.open(str(path), "w") as out:
        options = {"preset": "ultrafast", "qp": "12"}
        video = out.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            image = np.random.default_rng(i).integers(0, 255, (height, width, 3), np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(video.encode(None))
    return path


@pytest.fixture
def make_run(tiny_models: tuple[Path, Path], tmp_path: Path) -> Make:
    def make(clip: Path, settings: KafkaSettings, **environment: str) -> DistributedRun:
        names = {"detector": str(tiny_models[0]), "pose": str(tiny_models[1]), "formats": ("jsonl",)}
        return DistributedRun(
            resolve(clip)[0], tmp_path / "out.mp4", RunOptions.parse(names), settings, environment
        )

    return make


def check(
    fault: str,
    run: DistributedRun,
    clip: Path,
    disturb: Callable[[DistributedRun], None] = lambda run: None,
) -> PoseTaskError | None:
    """Run it, do something to it, and compare with the table."""
    row, error = TABLE[fault], None
    try:
        run.start()
        disturb(run)
        run.wait()
    except PoseTaskError as raised:
        error = raised
    found = (error.exit_code, error.reason, error.retryable) if error is not None else (0, "", False)
    assert found == (row.exit_code, row.reason, row.retryable), error
    assert frames_in(run.output) == (frames_in(clip) if row.frames == "all" else 0)
    left = {path.name for path in run.output.parent.iterdir() if path.name.startswith(("out", ".out"))}
    assert left == ({"out.mp4", "out.jsonl"} if row.frames == "all" else set())
    if error is not None:
        assert error.hint
    return error


def wait_for_frames(run: DistributedRun, frames: int) -> None:
    while run.annotated[0] < frames:
        assert run.wait(0.05) is None, "it ended before it could be disturbed"


@pytest.fixture
def settings(broker: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


class TestFaults:
    pytestmark = slow

    def test_4k_frames(self, make_run: Make, settings: KafkaSettings, tmp_path: Path) -> None:
        clip = write_noise(tmp_path / "4k.mp4", 3840, 2160, 6)
        check("4K frames", make_run(clip, settings), clip)

    def test_topic_acl_denied(self, make_run: Make, make_broker: Callable[..., Any], red_clip: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        own = make_broker(
            f"listeners=SASL://{address}",
            f"advertised.listeners=SASL://{address}",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "listener.name.sasl.sasl.enabled.mechanisms=PLAIN",
            f'listener.name.sasl.plain.sasl.jaas.config={module} required user_nobody="no-word";',
        )
        run = make_run(
            red_clip,
            KafkaSettings(bootstrap=own.bootstrap),
            POSETASK_KAFKA=address,
            POSETASK_KAFKA_SECURITY="sasl_plaintext",
            POSETASK_KAFKA_MECHANISM="PLAIN",
            POSETASK_KAFKA_USERNAME="nobody",
            POSETASK_KAFKA_PASSWORD="no-word",  # noqa: S106
        )
        error = check("topic ACL denied", run, red_clip)
        assert run.run in str(error)
        assert "no-word" not in str(error)
        assert [
            n for n in TopicAdmin(KafkaSettings(bootstrap=own.bootstrap)).existing() if run.run in n
        ] == []

    def test_broker_absent_at_start(self, make_run: Make, red_clip: Path) -> None:
        away = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_ms=1000)
        error = check("broker absent at start", make_run(red_clip, away), red_clip)
        assert "127.0.0.1:1" in str(error)

    def test_broker_lost_for_30_s_mid_run(
        self,
        make_run: Make,
        make_broker: Callable[..., Any],
        long_clip: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        own = make_broker()

        def lose(run: DistributedRun) -> None:
            wait_for_frames(run, 20)
            os.kill(own.pid, signal.SIGKILL)
            begin = time.monotonic()
            while time.monotonic() - begin < 30:
                assert run.wait(0.2) is None
            own.command("start", "--with-process", str(os.getpid()))

        check(
            "broker lost for 30 s mid-run",
            make_run(long_clip, KafkaSettings(bootstrap=own.bootstrap)),
            long_clip,
            lose,
        )
        assert capfd.readouterr().err.count("Connection refused") < 20

    def test_topic_deleted_under_a_run(
        self, make_run: Make, settings: KafkaSettings, long_clip: Path
    ) -> None:
        def delete(run: DistributedRun) -> None:
            wait_for_frames(run, 20)
            TopicAdmin(settings).delete([f"rtmpose_{run.run}"])

        check("topic deleted under a run", make_run(long_clip, settings), long_clip, delete)

    def test_disk_full_under_the_broker(self, make_run: Make, small_disk: Any, tmp_path: Path) -> None:
        clip = write_noise(tmp_path / "noise.mp4", 1280, 720, 100)
        run = make_run(
            clip,
            KafkaSettings(bootstrap=small_disk, connect_timeout_ms=2000, delivery_timeout_ms=5000),
            POSETASK_KAFKA_CONNECT_TIMEOUT_MS="2000",
            POSETASK_KAFKA_DELIVERY_TIMEOUT_MS="5000",
        )
        check("disk full under the broker", run, clip)

    def test_a_record_that_cannot_be_parsed(
        self, make_run: Make, settings: KafkaSettings, long_clip: Path
    ) -> None:
        def intrude(run: DistributedRun) -> None:
            wait_for_frames(run, 20)
            stranger = Producer({"bootstrap.servers": settings.bootstrap})
            stranger.produce(f"yolox_{run.run}", value=b"not one of ours", partition=0)
            assert stranger.flush(20) == 0

        check("a record that cannot be parsed", make_run(long_clip, settings), long_clip, intrude)


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose logs lie on a file system of 32 MiB; gives its address."""
    script, folder = ROOT / "scripts" / "kafka", tmp_path_factory.mktemp("small")
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here (root is needed)")
    command = [sys.executable, str(script)]
    place = ["--dir", str(folder)]
    tied = ["--with-process", str(os.getpid()), "--set", f"log.dirs={disk}/data"]
    try:
        done = subprocess.run([*command, "start", *place, *tied], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield done.stdout.strip()
    finally:
        subprocess.run([*command, "stop", *place], capture_output=True, check=False)
        for _ in range(50):
            with suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", str(disk)], capture_output=True, check=True)
                break
            time.sleep(0.2)
