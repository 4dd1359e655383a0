"""How many processes a stage may have, and what the other stages are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from posetask.cli.main import app
from posetask.errors import InvalidParameters
from posetask.runtime.children import Child
from posetask.runtime.replicas import MOST, check_replicas, check_stage, parse_replicas, partitions
from posetask.runtime.reports import StageReport, process_key
from posetask.runtime.stagefactory import find_stage
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages.names import MODULES, TOPICS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("yolox=2", {"yolox": 2}),
        (" yolox = 2 ,rtmpose=3, ", {"yolox": 2, "rtmpose": 3}),
        ("bytetrack=1", {"bytetrack": 1}),
    ],
)
def test_replicas_are_read(text: str, found: dict[str, int]) -> None:
    assert parse_replicas(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yolox", "'yolox' is no STAGE=NUMBER"),
        ("yolox=two", "'yolox=two' is no STAGE=NUMBER"),
        ("yolox=-1", "is no STAGE=NUMBER"),
        ("yolox=2,yolox=3", "yolox is given twice"),
        ("yolo=2", "there is no stage 'yolo'"),
        ("yolox=0", "yolox cannot run in 0"),
        (f"yolox={MOST + 1}", f"yolox cannot run in {MOST + 1}"),
        ("producer=2", "producer goes from frame to frame"),
        ("bytetrack=2", "bytetrack goes from frame to frame"),
        ("annotator=3", "annotator goes from frame to frame"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(text: str, words: str) -> None:
    with pytest.raises(InvalidParameters, match=words) as caught:
        parse_replicas(text)
    assert caught.value.hint


@pytest.mark.parametrize("stage", MODULES)
def test_the_list_of_scalable_stages_agrees_with_their_declarations(stage: str) -> None:
    kind = find_stage(stage)
    check_stage(kind, 1)
    refused = []
    for check in (lambda: check_replicas({stage: 2}), lambda: check_stage(kind, 2)):
        try:
            check()
            refused.append(False)
        except InvalidParameters:
            refused.append(True)
    assert refused == [stage not in {"yolox", "rtmpose"}] * 2


@pytest.mark.parametrize(
    ("replicas", "counts"),
    [
        ({}, [1, 1, 1, 1]),
        ({"yolox": 3}, [3, 3, 3, 1]),
        ({"yolox": 2, "rtmpose": 4}, [4, 4, 4, 1]),
    ],
)
def test_all_topics_of_frames_have_a_partition_for_the_most_replicas(
    replicas: dict[str, int], counts: list[int]
) -> None:
    assert [partitions(topic, replicas) for topic in TOPICS] == counts


def test_a_process_is_named_with_its_number_where_it_is_not_alone(tmp_path: Path) -> None:
    alone = StageProcessSpec(run="x", stage="yolox")
    third = StageProcessSpec(run="x", stage="yolox", replica=2, replicas=3)
    assert [Child(spec, tmp_path, {}).name for spec in (alone, third)] == ["yolox", "yolox.2"]
    assert {path.name for path in tmp_path.iterdir()} == {"yolox.json", "yolox.2.json"}
    report = StageReport(run="x", stage="yolox", replica=2, replicas=3, instance="a", state="running")
    assert report.key == process_key("yolox", 2, 3) == "yolox.2"
    assert StageReport.model_validate_json('{"run":"x","stage":"a","instance":"b","state":"done"}').key == "a"


def test_replicas_without_a_broker_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", str(tmp_path / "in.mp4"), "--replicas", "yolox=2", "--json"])
    assert done.exit_code == InvalidParameters("").exit_code
    assert "add --kafka HOST:PORT" in done.output
