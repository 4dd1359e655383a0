"""A stage of a package of its own: found by its entry point, and served like the five."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from posetask.messages import FrameHeader, Tracks
from posetask.messages.envelope import Envelope, ForeignMessage
from posetask.messages.wire import decode, encode

pytestmark = pytest.mark.timeout(150)  # whole programs start here, beside whatever else the machine does

PACKAGE = Path(__file__).parents[3] / "examples" / "stage-package"
NOSE, LEFT_WRIST, RIGHT_WRIST = 0, 9, 10


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as an installer leaves it: modules and metadata, by its own pyproject. No network."""
    project: dict[str, Any] = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE / "src" / "posetask_hands_up", folder / "posetask_hands_up")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def posetask(site: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "posetask", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site), **environment},
    )


def test_the_command_line_knows_it_once_it_is_installed(site: Path) -> None:
    bad = {"POSETASK_STAGE_RUN": "a", "POSETASK_STAGE_PARAMETERS": '{"margin_percent": 200}'}
    bad["POSETASK_KAFKA"] = "127.0.0.1:1"
    refused = posetask(site, "stage", "hands-up", "--listen", "127.0.0.1:0", **bad)
    assert (refused.returncode, "margin_percent" in refused.stderr) == (20, True), "found, and checked"


def test_the_service_comes_with_the_declaration(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "POSETASK_KAFKA": "127.0.0.1:1"}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "posetask", "service", "hands-up", "--listen", "127.0.0.1:0"),
            *("--state", str(tmp_path), "--parameter", "margin_percent=10", "--with-parent"),
        ],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "listens on" in line)
        url = said.split()[-1]
        info = httpx.get(url + "/").json()
        assert (info["name"], info["port"], info["defaults"]) == ("hands-up", 8111, {"margin_percent": 10})
        assert (info["inputs"], info["output"]) == (["bytetrack_{task_id}"], "hands_up_{task_id}")
        assert set(info["parameters"]["properties"]) == {"keypoint_threshold", "margin_percent"}
        body = {"task_id": "a", "parameters": {"margin_percent": 101}}
        refused = httpx.post(url + "/services/start", json=body)
        assert (refused.status_code, "margin_percent" in refused.json()["detail"]) == (422, True)
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def somebody(*, nose: float, left: float, right: float, score: float = 0.9) -> Tracks:
    """Two people: one as given, and one whose pose was not estimated."""
    header = FrameHeader(3, 3, Fraction(1, 25), 640, 360, run="a")
    keypoints = np.full((2, 17, 2), np.nan, np.float32)
    scores = np.zeros((2, 17), np.float32)
    keypoints[0], scores[0] = 100.0, score
    keypoints[0, [NOSE, LEFT_WRIST, RIGHT_WRIST], 1] = nose, left, right
    boxes = np.array([[0, 0, 50, 200], [60, 0, 90, 200]], np.float32)
    ids, rows = np.array([4, 7], np.int32), np.array([0, 1], np.int32)
    return Tracks(header, ids, boxes, np.ones(2, np.float32), rows, keypoints, scores)


@pytest.mark.parametrize(
    ("seen", "hands"),
    [
        ({"nose": 50, "left": 20, "right": 20}, 2),
        ({"nose": 50, "left": 20, "right": 90}, 1),
        ({"nose": 50, "left": 41, "right": 90}, 0),
        ({"nose": 50, "left": 20, "right": 20, "score": 0.1}, 0),
    ],
    ids=["both", "one", "within the margin", "not believed"],
)
def test_what_it_sees_and_how_it_travels(
    seen: dict[str, float], hands: int, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    from posetask_hands_up.message import HandsUp
    from posetask_hands_up.stage import HandsUpParameters, HandsUpStage

    from posetask.stages import StageContext

    stage = HandsUpStage(HandsUpParameters(), StageContext())
    (said,) = stage.process([(somebody(**seen),)])
    assert said.hands == {4: hands, 7: 0}
    record = encode(said, run="a")
    back = decode(record.key, record.value, record.headers)
    assert isinstance(back, Envelope)
    assert isinstance(back.record, HandsUp)
    assert not isinstance(back.record, ForeignMessage)
    assert back.record == said
