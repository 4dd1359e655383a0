"""The plots and the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from posetask.errors import NotAvailable, OutputError
from posetask.evaluation import People, ScoreOptions, Scores, table, write_plots
from posetask.evaluation.scores import Span, Switch
from posetask.evaluation.timeline import MOST_ROWS, rows_to_show

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def scores(compare: Callable[..., Scores], walk: People) -> Scores:
    """With a swap of ids, a person lost for a while, and a ghost."""
    ids = np.where((walk.frames >= 5) & (walk.ids < 3), 3 - walk.ids, walk.ids)
    seen = replace(walk, ids=ids).take(~((walk.ids == 3) & (walk.frames > 6)))
    ghost = People.of([2], [[500, 300, 40, 90]], ids=[9], scores=[0.3])
    return compare(walk, People.concatenate([seen, ghost]))


def test_a_picture_is_written_for_everything_scored(scores: Scores, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_plots(scores, tmp_path / "new" / "plots", "walk.parquet")
    assert [path.name for path in written] == ["precision_recall.png", "oks.png", "hota.png", "timeline.png"]
    for path in written:
        data = path.read_bytes()
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert data.startswith(PNG)
        assert (width, 500 < height < 1500) == (1200, True)
    only_boxes = scores.model_copy(update={"pose": None, "tracking": None})
    assert [path.name for path in write_plots(only_boxes, tmp_path)] == ["precision_recall.png"]


def test_nothing_found_at_all_can_be_drawn(
    compare: Callable[..., Scores], walk: People, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    written = write_plots(compare(walk, walk.take(walk.ids < 0)), tmp_path)
    assert all(path.read_bytes().startswith(PNG) for path in written)
    assert len(written) == 4


def test_the_timeline_keeps_the_most_troubled(scores: Scores) -> None:
    assert scores.tracking is not None
    calm = [Span(truth_id=i, first=0, last=9, predicted_id=i) for i in range(100)]
    lost = Span(truth_id=77, first=10, last=12, predicted_id=None)
    switch = Switch(frame=3, truth_id=88, before=1, after=2)
    crowd = scores.tracking.model_copy(update={"spans": (*calm, lost), "switched": (switch,)})
    shown = rows_to_show(crowd)
    assert len(shown) == MOST_ROWS
    assert shown == sorted(shown)
    assert {77, 88} <= set(shown)
    assert rows_to_show(scores.tracking) == [1, 2, 3]


def test_a_folder_that_cannot_be_made_is_said_so(scores: Scores, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="check that the folder exists and is writable"):
        write_plots(scores, tmp_path / "file")


def test_without_matplotlib_the_extra_is_named(
    scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(NotAvailable, match=r"posetask\[eval\]"):
        write_plots(scores, tmp_path)


def render(scores: Scores, title: str = "") -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table(scores, title))
        return console.export_text()


def test_the_table_shows_every_metric(scores: Scores) -> None:
    text = render(scores, "[walk].parquet")
    assert "[walk].parquet" in text
    for metric in ("AP50", "AP ", "precision", "recall", "OKS-AP", "MOTA", "IDF1", "HOTA", "id switches"):
        assert metric in text, metric
    assert "27 found, 3 missed" in text
    assert "1 false alarm " in text
    assert "0 fragmentations" in text
    assert "10 frames, 30 true people that count, 0 ignored" in text


def test_the_table_says_what_is_missing_and_why(
    score: Callable[..., Scores], walk: People, as_truth: Callable[..., object]
) -> None:
    from posetask.evaluation import Predictions

    predictions = Predictions({"boxes": walk.take(walk.ids < 0)}, {"poses": "no joints", "tracks": "no ids"})
    text = render(score(as_truth(walk), predictions, ScoreOptions(score_threshold=0.5)))
    assert "not scored: OKS-AP: no joints" in text
    assert "not scored: MOTA, IDF1, HOTA: no ids" in text
    assert "at a score of 0.5 or more" in text
    assert [line.split()[1] for line in text.splitlines() if "precision" in line] == ["-"]
