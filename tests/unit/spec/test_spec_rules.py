"""The models: what a specification may say, in words when it may not."""

from __future__ import annotations

from typing import Any

import pytest

from posetask.errors import InvalidParameters
from posetask.spec import ConditionType, PoseTask, PoseTaskSpec, PoseTaskStatus, Reason
from posetask.spec.reasons import catalogue

Object = dict[str, Any]
SOURCE: Object = {"uri": "s3://videos/a.mp4"}


def task(**spec: Any) -> Object:
    return {
        "apiVersion": "posetask.io/v1alpha1",
        "kind": "PoseTask",
        "metadata": {"name": "demo"},
        "spec": {"source": SOURCE} | spec,
    }


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"stages": [{"name": "producer", "replicas": 2}]}, "run in one replica"),
        ({"stages": [{"name": "annotator", "required": False}]}, "always required"),
        ({"stages": [{"name": "own", "replicas": 2}], "execution": {"mode": "Fused"}}, "Fused runs every"),
        ({"source": {"uri": "synth:people=1", "live": True}}, "leave live out"),
        ({"stages": [{"name": "faces"}, {"name": "faces"}]}, "stages has faces twice"),
        ({"output": {"formats": ["mp4", "parquet", "mp4"]}}, "formats has mp4 twice"),
        ({"stages": [{"name": "faces", "inputs": ["yolox", "yolox"]}]}, "inputs has yolox twice"),
        ({"source": {"uri": "file:///etc/passwd"}}, "source.uri"),
        ({"source": {"uri": "s3://a b"}}, "source.uri"),
        ({"source": {"uri": "s3://a\u0000"}}, "source.uri"),
        ({"retries": 0.5}, "retries"),
        ({"suspend": "true"}, "suspend"),
        ({"image": "evil:latest"}, "image"),
    ],
)
def test_a_specification_that_is_none_is_said_in_words(spec: Object, words: str) -> None:
    with pytest.raises(InvalidParameters) as error:
        PoseTask.read(task(**spec))
    assert words in str(error.value)


@pytest.mark.parametrize("uri", ["s3://b/Tür 1.mp4".replace(" ", "%20"), "synth:people=2", "rtsps://cam/1"])
def test_a_source_may_be_named_in_any_script(uri: str) -> None:
    assert PoseTask.read(task(source={"uri": uri})).spec.source.uri == uri


@pytest.mark.parametrize(
    ("uri", "live", "is_live"),
    [("rtsp://cam/1", None, True), ("rtsp://cam/1", False, False), ("https://x/a.mp4", None, False)],
)
def test_a_camera_is_live_unless_it_is_said_not_to_be(uri: str, live: bool | None, is_live: bool) -> None:
    assert PoseTaskSpec.model_validate({"source": {"uri": uri, "live": live}}).source.is_live is is_live


def test_a_status_of_a_newer_operator_is_read() -> None:
    assert PoseTaskStatus.model_validate({"state": "Running", "laterField": 1}).state == "Running"


def test_every_reason_has_its_meaning_and_fits_the_condition() -> None:
    assert set(catalogue()) == set(Reason)
    for reason, words in catalogue().items():
        assert words.meaning
        assert set(words.conditions) <= set(ConditionType)
        assert len(reason) <= 128
