"""Doctests of modules whose packages are missing are left out, and the end of the run says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

_KAFKA = ("bus", "extent", "gate", "groups", "reader", "topics", "writer")

collect_ignore = [
    str(Path(__file__).parent / "posetask" / "transport" / "kafka" / f"{name}.py")
    for name in _KAFKA
    if find_spec("confluent_kafka") is None
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if collect_ignore:
        terminalreporter.write_line(
            "NOT RUN: doctests of transport/kafka (confluent-kafka is not installed)", red=True
        )


@pytest.fixture(autouse=True)
def _clip_of_the_examples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python face's examples speak of ``walk.mp4``: a second of one synthetic person."""
    if not request.node.name.startswith("posetask.api"):
        return
    from posetask.synth.clip import write_clip
    from posetask.synth.spec import CameraMotion, Place, WorldSpec

    folder: Path = request.getfixturevalue("tmp_path")
    spec = WorldSpec(
        seed=4, people=1, frames=5, width=320, height=180, camera=CameraMotion.STILL, place=Place.ROOM
    )
    write_clip(spec, folder / "walk.mp4")
    monkeypatch.chdir(folder)
