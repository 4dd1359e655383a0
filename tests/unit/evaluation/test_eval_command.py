"""``posetask eval`` as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from posetask.cli.evaluate import evaluate
from posetask.errors import InputError, InvalidParameters, OutputError
from posetask.evaluation import Scores

MOT = "1,1,10,10,40,90,1,1,1\n2,1,12,10,40,90,1,1,0.5\n"


@pytest.fixture
def call(tmp_path: Path, score: Callable[..., Scores]) -> Callable[..., Result]:
    """Run the command in a folder with ``gt.txt`` and an equal ``run.mot.txt``."""
    app = typer.Typer()
    app.command("eval")(evaluate)
    (tmp_path / "gt.txt").write_text(MOT)
    (tmp_path / "run.mot.txt").write_text("1,5,10,10,40,90,0.9,-1,-1,-1\n2,5,12,10,40,90,0.8,-1,-1,-1\n")

    def run(*arguments: str) -> Result:
        files = (".txt", ".json", "plots")
        paths = [
            str(tmp_path / word) if word.endswith(files) and word[0] != "-" else word for word in arguments
        ]
        return CliRunner().invoke(app, paths)

    return run


def test_it_prints_a_table_and_leaves_json_and_plots(call: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = call("run.mot.txt", "--truth-mot", "gt.txt", "--json", "s.json", "--plots", "plots")
    assert result.exit_code == 0, result.output
    for word in ("run.mot.txt", "AP50", "MOTA", "IDF1", "HOTA", "1.000", "not scored: OKS-AP"):
        assert word in result.output, word
    scores = Scores.model_validate_json((tmp_path / "s.json").read_text())
    assert scores.tracking is not None
    assert scores.tracking.idf1 == 1.0
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"precision_recall.png", "hota.png", "timeline.png"}


def test_json_alone_goes_to_standard_output(call: Callable[..., Result]) -> None:
    result = call("run.mot.txt", "--truth", "gt.txt", "--json", "-")
    assert json.loads(result.stdout)["detection"]["ap50"] == pytest.approx(1.0)


def test_easy_ignores_the_hidden_and_the_small(call: Callable[..., Result]) -> None:
    result = call("run.mot.txt", "--truth", "gt.txt", "--easy", "--frame-height", "480", "--json", "-")
    scores = Scores.model_validate_json(result.stdout)
    assert (scores.people, scores.ignored) == (1, 1)
    wider = ("--min-visible", "0.4", "--json", "-")
    result = call("run.mot.txt", "--truth", "gt.txt", "--easy", "--frame-height", "480", *wider)
    assert Scores.model_validate_json(result.stdout).people == 2


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("run.mot.txt",), InvalidParameters, "--truth"),
        (("run.mot.txt", "--truth", "gt.txt", "--easy"), InvalidParameters, "--frame-height"),
        (("run.mot.txt", "--truth", "gt.txt", "--min-height", "7"), InvalidParameters, "--min-height"),
        (("gone.json", "--truth", "gt.txt"), InputError, "check the path"),
        (("run.mot.txt", "--truth", "gt.txt", "--json", "no/folder/s.json"), OutputError, "folder"),
    ],
)
def test_what_is_wrong_is_said_with_a_hint(
    call: Callable[..., Result], arguments: tuple[str, ...], error: type[Exception], words: str
) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)


def test_nothing_to_score_is_a_usage_error(call: Callable[..., Result]) -> None:
    assert call("--truth", "gt.txt").exit_code == 2
