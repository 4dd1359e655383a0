from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from posetask.errors import InvalidParameters, ModelContract, ModelCorrupt
from posetask.models import local
from posetask.models.catalogue import Catalogue
from posetask.models.store import resolve_detector, resolve_pose


def declared(path, inputs, outputs):
    """A file whose graph declares these shapes (it could not run)."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [next(iter(inputs))], [next(iter(outputs))])],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in outputs.items()],
    )
    onnx.save(helper.make_model(graph), path)
    return str(path)


@pytest.mark.parametrize(
    ("shape", "output", "expected"),
    [
        (
            [1, 3, 416, 416],
            [1, 3549, 85],
            {"output": "raw", "classes": 80, "strides": (8, 16, 32), "batch": "fixed"},
        ),
        ([1, 3, 640, 640], [1, 8400, 85], {"output": "raw", "classes": 80, "width": 640}),
        ([1, 3, 192, 192], [1, 756, 6], {"output": "raw", "classes": 1}),
        (["n", 3, 640, 640], ["n", "anchors", 6], {"output": "raw", "classes": 1, "batch": "dynamic"}),
        ([1, 3, 640, 640], [1, 8500, 85], {"strides": (8, 16, 32, 64)}),
        ([1, 3, 256, 512], [1, 2688, 85], {"width": 512, "height": 256}),
        ([1, 3, 640, 640], [1, "people", 5], {"output": "nms", "rounding": "nearest", "nms_threshold": None}),
        ([1, 3, 416, 416], [1, 100, 5], {"output": "nms"}),
    ],
)
def test_detectors_are_known_by_their_shapes(tmp_path, shape, output, expected):
    path = declared(tmp_path / "My Net.onnx", {"images": shape}, {"out": output})
    resolved = resolve_detector(path)
    assert {key: getattr(resolved.spec, key) for key in expected} == expected
    assert (resolved.spec.colour, resolved.spec.mean, resolved.spec.name) == ("BGR", None, "my-net")
    assert resolved.sha256 == hashlib.sha256(resolved.path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("shape", "outputs", "expected"),
    [
        (
            ["n", 3, 256, 192],
            {"simcc_x": ["n", 17, 384], "simcc_y": ["n", 17, 512]},
            {"keypoints": 17, "split_ratio": 2.0, "width": 192, "height": 256, "skeleton": "coco17"},
        ),
        (["n", 3, 384, 288], {"a": ["n", 26, 576], "b": ["n", 26, 768]}, {"keypoints": 26, "skeleton": None}),
        (
            [1, 3, 256, 192],
            {"simcc_y": [1, 17, 768], "simcc_x": [1, 17, 576]},
            {"split_ratio": 3.0, "batch": "fixed"},
        ),
        (["n", 3, 256, 192], {"simcc_x": None, "simcc_y": None}, {"keypoints": 17, "split_ratio": 2.0}),
    ],
)
def test_pose_estimators_are_known_by_their_shapes(tmp_path, shape, outputs, expected):
    resolved = resolve_pose(declared(tmp_path / "p.onnx", {"input": shape}, outputs))
    assert {key: getattr(resolved.spec, key) for key in expected} == expected
    assert resolved.spec.colour == "RGB"
    assert resolved.spec.std == (58.395, 57.12, 57.375)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": [1, 3, 416, 416]}, {"y": [1, 1000]}),
        ({"x": [1, 3, 416, 416]}, {"y": [1, 3549, 4]}),
        ({"x": [1, 3, 416, 416]}, {"y": [1, 17, 85]}),
        ({"x": [1, 3, 100, 100]}, {"y": [1, 300, 85]}),
        ({"x": [1, 1, 416, 416]}, {"y": [1, 3549, 85]}),
        ({"x": [1, 3, 416]}, {"y": [1, 3549, 85]}),
        ({"x": [1, 3, 416, 416], "z": [1]}, {"y": [1, 3549, 85]}),
        ({"x": [1, 3, 256, 192]}, {"a": [1, 17, 384], "b": [1, 16, 512]}),
    ],
)
def test_a_graph_of_another_family_is_refused_with_its_shapes(tmp_path, inputs, outputs):
    path = declared(tmp_path / "m.onnx", inputs, outputs)
    for resolve in (resolve_detector, resolve_pose):
        with pytest.raises(ModelContract, match="expected") as caught:
            resolve(path)
        assert "found x [" in str(caught.value)


def test_the_other_kind_is_refused_by_name(tmp_path, make_yolox, make_pose):
    with pytest.raises(ModelContract, match=r"detects people.*other option"):
        resolve_pose(str(make_yolox()))
    with pytest.raises(ModelContract, match=r"estimates poses.*other option"):
        resolve_detector(str(make_pose()))


def test_a_note_beside_the_file_overrides(make_yolox):
    path = make_yolox()
    note = path.with_name(path.name + ".yaml")
    note.write_text(
        "colour: RGB\nmean: [123.675, 116.28, 103.53]\nstd: [58.395, 57.12, 57.375]\nperson_class: 2\n"
    )
    spec = resolve_detector(str(path)).spec
    assert (spec.colour, spec.person_class, spec.width) == ("RGB", 2, 64)
    assert spec.mean == (123.675, 116.28, 103.53)
    note.write_text("# nothing yet\n")
    assert resolve_detector(str(path)).spec.colour == "BGR"


def test_a_note_may_start_from_a_catalogue_model(make_yolox):
    path = make_yolox()
    path.with_name(path.name + ".yaml").write_text("like: yolox-nano\nwidth: 64\nheight: 64\nclasses: 3\n")
    spec = resolve_detector(str(path)).spec
    assert (spec.licence, spec.width, spec.classes) == ("Apache-2.0", 64, 3)
    assert spec.urls == ()
    assert spec.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec.accuracy == ()  # those were measured on other weights


def test_a_file_that_the_catalogue_knows_by_its_digest_gets_its_spec(make_yolox, monkeypatch):
    path = make_yolox("renamed.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = Catalogue.load().detector("yolox-nano").model_copy(update={"sha256": digest, "name": "known"})
    monkeypatch.setattr(local.Catalogue, "load", staticmethod(lambda: Catalogue((known,))))
    spec = resolve_detector(str(path)).spec
    assert spec.name == "known"
    assert spec.accuracy == known.accuracy


def test_an_open_input_size_wants_a_note(tmp_path):
    path = declared(tmp_path / "m.onnx", {"x": [1, 3, "h", "w"]}, {"y": [1, "a", 85]})
    with pytest.raises(ModelContract, match=r"open.*m\.onnx\.yaml"):
        resolve_detector(path)
    (tmp_path / "m.onnx.yaml").write_text("width: 640\nheight: 384\n")
    spec = resolve_detector(path).spec
    assert (spec.width, spec.height, spec.classes) == (640, 384, 80)


LAUGHS = "a: &a [1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour: purple", "colour"),
        ("speed: fast", "speed"),
        ("width: many", "width"),
        ("- a list", "fields with names"),
        ("1: 2", "fields with names"),
        ("a: [", "no note"),
        ("!!python/object/apply:os.system [true]", "no note"),
        (LAUGHS, "aliases"),
        ("#" * 70_000, "more than"),
        ("\x00", "no note"),
    ],
)
def test_a_wrong_note_is_named(make_yolox, text, says):
    path = make_yolox()
    path.with_name(path.name + ".yaml").write_text(text)
    with pytest.raises(InvalidParameters, match=says) as caught:
        resolve_detector(str(path))
    assert "tiny_yolox.onnx.yaml" in str(caught.value)


def test_an_unreadable_note_is_named(make_yolox):
    path = make_yolox()
    path.with_name(path.name + ".yaml").mkdir()
    with pytest.raises(InvalidParameters, match="cannot be read"):
        resolve_detector(str(path))


def test_text_is_no_model(tmp_path):
    (tmp_path / "m.onnx").write_text("no model\n" * 100)
    with pytest.raises(ModelCorrupt):
        resolve_detector(str(tmp_path / "m.onnx"))


def test_names_come_from_the_file_and_are_safe(tmp_path):
    path = declared(tmp_path / "Ünïcode & ‮ spaces!.onnx", {"x": [1, 3, 416, 416]}, {"y": [1, 3549, 85]})
    assert resolve_detector(path).spec.name.strip("-")
    path = declared(tmp_path / "€€.onnx", {"x": [1, 3, 416, 416]}, {"y": [1, 3549, 85]})
    assert resolve_detector(path).spec.name == "model"
    assert np.all([c.isascii() for c in resolve_detector(path).spec.name])
