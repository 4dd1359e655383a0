from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from posetask.errors import UnknownModel
from posetask.messages import COCO_17
from posetask.models.catalogue import Catalogue, DetectorSpec, PoseSpec, parse_spec

DETECTOR = {
    "kind": "detector",
    "name": "d",
    "width": 64,
    "height": 64,
    "colour": "BGR",
    "batch": "fixed",
}
POSE = {"kind": "pose", "name": "p", "width": 24, "height": 32, "colour": "RGB", "batch": "dynamic"}


def test_all_the_official_models_are_there():
    names = {spec.name for spec in Catalogue.load()}
    assert {f"yolox-{size}" for size in ("nano", "tiny", "s", "m", "l", "x")} <= names
    assert {f"yolox-{size}-humanart" for size in ("nano", "tiny", "s", "m", "l", "x")} <= names
    assert {f"rtmpose-{size}" for size in "tsml"} <= names
    assert {f"rtmpose-{size}-384" for size in "mlx"} <= names


@pytest.mark.parametrize("spec", list(Catalogue.load()), ids=lambda s: s.name)
def test_every_entry_can_be_fetched_trusted_and_credited(spec):
    assert spec.urls
    for url in spec.urls:
        assert urlsplit(url).scheme == "https"
        assert (spec.member == "end2end.onnx") == url.endswith(".zip")
    assert spec.licence == "Apache-2.0"
    assert spec.licence_note
    assert spec.accuracy
    assert (spec.sha256 is None) == (spec.sha256_source == "")
    assert spec.sha256 is not None or len(spec.urls) == 1


def test_the_numeric_contracts_of_the_families():
    nano = Catalogue.load().detector("yolox-nano")
    assert (nano.colour, nano.mean, nano.padding, nano.pad_value) == ("BGR", None, "top-left", 114)
    assert (nano.output, nano.anchors, nano.classes, nano.rounding) == ("raw", 3549, 80, "floor")
    assert Catalogue.load().detector("yolox-x").anchors == 8400
    art = Catalogue.load().detector("yolox-m-humanart")
    assert (art.output, art.nms_threshold, art.rounding) == ("nms", None, "nearest")
    pose = Catalogue.load().pose("rtmpose-m")
    assert (pose.width, pose.height, pose.colour, pose.split_ratio, pose.expansion) == (
        192,
        256,
        "RGB",
        2.0,
        1.25,
    )
    assert pose.mean == (123.675, 116.28, 103.53)
    assert pose.bones is COCO_17
    large = Catalogue.load().pose("rtmpose-l-384")
    assert (large.width, large.height) == (288, 384)


def test_one_pair_is_recommended_and_ranks_tell_models_apart():
    specs = list(Catalogue.load())
    assert sorted(type(s).__name__ for s in specs if s.recommended) == ["DetectorSpec", "PoseSpec"]
    for kind in (DetectorSpec, PoseSpec):
        ranks = [s.rank for s in specs if isinstance(s, kind)]
        assert len(set(ranks)) == len(ranks)


def test_names_of_the_wrong_kind_and_unknown_names_are_told_apart():
    catalogue = Catalogue.load()
    with pytest.raises(UnknownModel, match=r"no model 'yolo'.*posetask models list"):
        catalogue.get("yolo")
    with pytest.raises(UnknownModel, match=r"rtmpose-s is no detector.*yolox-nano"):
        catalogue.detector("rtmpose-s")
    with pytest.raises(UnknownModel, match=r"yolox-s estimates no poses.*rtmpose-t"):
        catalogue.pose("yolox-s")
    assert "yolox-s" in catalogue
    assert "yolo" not in catalogue


@pytest.mark.parametrize(
    ("base", "wrong", "says"),
    [
        (DETECTOR, {"colour": "GRAY"}, "colour"),
        (DETECTOR, {"mean": (1, 2, 3)}, "together"),
        (DETECTOR, {"mean": (1, 2, 3), "std": (1, 0, 1)}, "positive"),
        (DETECTOR, {"person_class": 80}, "person_class"),
        (DETECTOR, {"output": "nms"}, "directly"),
        (DETECTOR, {"score_rule": "direct"}, "directly"),
        (DETECTOR, {"nms_threshold": None}, "nms_threshold"),
        (DETECTOR, {"width": 100}, "multiple of the strides"),
        (DETECTOR, {"sha256": "abc"}, "sha256"),
        (DETECTOR, {"urls": ("https://a.invalid/x", "https://b.invalid/x")}, "mirror"),
        (DETECTOR, {"name": "../x"}, "name"),
        (DETECTOR, {"paddding": "centre"}, "paddding"),
        (POSE, {"skeleton": "octopus"}, "octopus"),
        (POSE, {"keypoints": 26}, "26 keypoints"),
        (POSE, {"width": 0}, "width"),
    ],
)
def test_wrong_fields_are_named(base, wrong, says):
    assert parse_spec(base).name in "dp"
    with pytest.raises(ValidationError, match=says):
        parse_spec({**base, **wrong})


def test_two_models_of_one_name_are_refused():
    with pytest.raises(ValueError, match="one name"):
        Catalogue.parse({"models": [DETECTOR, {**POSE, "name": "d"}]})


def test_templates_are_overridden_by_entries():
    catalogue = Catalogue.parse(
        {"templates": {"t": {**DETECTOR, "rank": 1}}, "models": [{"like": "t", "name": "a", "rank": 5}]}
    )
    assert catalogue.detector("a").rank == 5
    assert catalogue.detector("a").width == 64


def test_the_document_names_every_model():
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text("utf-8")
    missing = [spec.name for spec in Catalogue.load() if f"`{spec.name}`" not in text]
    assert not missing
