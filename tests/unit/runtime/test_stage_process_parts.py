"""The parts of a stage's process that need no broker: its specification, its pages, its place on disk."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from posetask.errors import InvalidParameters, NotAvailable, OutputExists, PoseTaskError, SourceNotFound
from posetask.messages import SourceInfo
from posetask.runtime import health
from posetask.runtime.ownership import claim, owns, release
from posetask.runtime.stagefactory import build_annotator, find_stage
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages import StageContext

INFO = SourceInfo("x", "mov", "h264", "yuv420p", 320, 180, Fraction(1, 25), 25.0)


def test_the_environment_goes_over_the_file_and_what_is_given_over_both(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("run: a\nstage: yolox\nparameters: {max_people: 7}\nlisten: 127.0.0.1:1\n")
    environment = {
        "POSETASK_STAGE_RUN": "b",
        "POSETASK_STAGE_FORMATS": '["mot"]',
        "POSETASK_STAGE_START": "2.5",
    }
    spec = StageProcessSpec.load(file, environment, listen="127.0.0.1:2", stage=None)
    assert (spec.run, spec.stage, spec.listen) == ("b", "yolox", "127.0.0.1:2")
    assert (spec.parameters, spec.formats, spec.start) == ({"max_people": 7}, ("mot",), 2.5)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("run: a\nstage: yolox\nsecret: x\n", InvalidParameters, "secret"),
        ("run: a\nstage: yolox\nwire_codec: png\n", InvalidParameters, "no wire codec 'png'"),
        ("run: a\nstage: yolox\nlisten: everywhere\n", InvalidParameters, "listen"),
        ("- run\n", InvalidParameters, "no mapping"),
        ("run: [\n", InvalidParameters, "cannot be read"),
        (None, SourceNotFound, "does not exist"),
    ],
)
def test_a_bad_specification_says_what_is_wrong(
    text: str | None, error: type[PoseTaskError], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "spec.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(error, match=words) as caught:
        StageProcessSpec.load(file, {})
    assert caught.value.hint


def test_an_unknown_stage_names_those_that_are() -> None:
    with pytest.raises(InvalidParameters, match="no stage 'yolo'") as caught:
        find_stage("yolo")
    assert "yolox" in caught.value.hint


def test_the_window_holds_two_segments_the_encoders_delay_and_what_every_n_holds_back() -> None:
    spec = StageProcessSpec(run="a", stage="producer")
    plain = spec.window(INFO)
    assert plain.records >= 2 * 50 + spec.encoder.delay_frames
    wide = spec.model_copy(update={"parameters": {"every_n": 30}}).window(INFO)
    assert wide.records - plain.records >= 30
    assert wide.at_least > 30
    assert spec.model_copy(update={"window_frames": 9}).window(INFO).records == 9


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_pages_are_served_until_closed_and_a_taken_address_is_named() -> None:
    pages: dict[str, health.Page] = {
        "/readyz": lambda: health.text(503, "not yet"),
        "/status": lambda: health.document('{"a": 1}'),
    }
    with health.HealthServer("127.0.0.1:0", pages) as server:
        assert get(server.address, "/readyz") == (503, "not yet\n")
        assert json.loads(get(server.address, "/status?x=1")[1]) == {"a": 1}
        assert get(server.address, "/")[0] == 404
        with pytest.raises(NotAvailable, match="cannot listen"):
            health.HealthServer(server.address, pages)
        address = server.address
    with pytest.raises(urllib.error.URLError):
        get(address, "/readyz")


def test_a_place_belongs_to_one_run(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    (tmp_path / "out.hls").mkdir()
    (tmp_path / "out.hls" / "old").touch()
    assert not owns(output, "a")
    claim(output, "a")
    assert owns(output, "a")
    assert not owns(output, "b")
    assert [p.name for p in (tmp_path / "out.hls").iterdir()] == ["run.id"]
    release(output, "b")
    assert owns(output, "a")
    release(output, "a")
    assert list(tmp_path.iterdir()) == []


def test_only_a_process_that_takes_over_replaces_what_is_published(red_clip: Path, tmp_path: Path) -> None:
    spec = StageProcessSpec(
        run="a", stage="annotator", source=str(red_clip), output=tmp_path / "out.mp4", formats=("mot",)
    )
    context: Any = StageContext("a")
    (tmp_path / "out.mp4").write_bytes(b"someone's")
    with pytest.raises(OutputExists):
        build_annotator(spec, context, lambda: False)
    (tmp_path / "out.mp4").unlink()
    first, info = build_annotator(spec, context, lambda: False)
    assert (info.width, first.kept_index) == (320, 0)
    part = next(p for p in tmp_path.iterdir() if p.name.startswith(".out.mot.txt."))
    (tmp_path / "out.mp4").write_bytes(b"half-published by the first")
    second, _ = build_annotator(spec, context, lambda: False)
    assert not part.exists(), "what the dead left is swept"
    first.close()
    second.close()
    assert owns(spec.output or Path(), "a"), "segments stay for the next one"
