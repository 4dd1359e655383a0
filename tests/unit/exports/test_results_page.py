"""docs/results.md says what is true: its code runs, and its tables name what the files hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from posetask.exports import FORMATS, RunMetadata, open_writers
from posetask.exports.parquet_schema import pose_schema
from posetask.messages import Tracks

PAGE = Path(__file__).parents[3] / "docs" / "results.md"
MakeTracks = Callable[..., Tracks]


@pytest.fixture
def results(tmp_path: Path, metadata: RunMetadata, make_tracks: MakeTracks) -> dict[str, Path]:
    with open_writers(tmp_path / "out", FORMATS, metadata) as writers:
        for i in range(3):
            writers.write(make_tracks(i, i))
        return writers.close()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_code_runs(results: dict[str, Path]) -> None:
    shown = []
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=results["parquet"].parent,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    assert shown[0] == "3 frames, 2 people\n"
    assert len(shown[1].splitlines()) == 2


def test_parquet_columns_and_metadata_are_named(results: dict[str, Path]) -> None:
    text = PAGE.read_text()
    for name in [*pose_schema(17).names, *RunMetadata.model_fields]:
        assert f"`{name}`" in text


def test_coco_fields_are_named(results: dict[str, Path]) -> None:
    text = PAGE.read_text()
    data = json.loads(results["coco"].read_text())
    for name in [*data, *data["annotations"][0], "file_name"]:
        assert f"`{name}`" in text


def test_the_json_line_has_the_fields_of_a_real_one(results: dict[str, Path]) -> None:
    (example,) = blocks("json")
    shown, real = json.loads(example), json.loads(results["jsonl"].read_text().splitlines()[1])
    assert shown.keys() == real.keys()
    assert shown["people"][0].keys() == real["people"][0].keys()


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_is_named(results: dict[str, Path], name: str) -> None:
    assert f"`{results[name].name}`" in PAGE.read_text()
