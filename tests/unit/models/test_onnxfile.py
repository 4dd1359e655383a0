from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from posetask.errors import ModelCorrupt, UnknownModel
from posetask.models import onnxfile
from posetask.models.onnxfile import inspect, read_model


def minimal(**extra) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "n", 3]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(3, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], **extra)


def outside(name: str = "w") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def test_it_tells_inputs_and_outputs_and_leaves_weights_out():
    facts = inspect(minimal().SerializeToString(), "m.onnx")
    assert [str(t) for t in facts.inputs] == ["x [1, n, 3]"]
    assert [str(t) for t in facts.outputs] == ["y (no shape)"]
    assert facts.inputs[0].float32


def test_other_element_types_and_unknown_sizes_are_told():
    model = minimal()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    (x,) = inspect(model.SerializeToString(), "m.onnx").inputs
    assert x.dims == (None, None, 3)
    assert not x.float32


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(outside())


def only_located(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def only_entries(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="w.bin")


def in_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=outside("c")))


def in_tensor_list(model: onnx.ModelProto) -> None:
    attribute = model.graph.node[0].attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(outside())


def in_sparse_weights(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(outside())


def in_sparse_indices_of_an_attribute(model: onnx.ModelProto) -> None:
    attribute = model.graph.node[0].attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.indices.CopyFrom(outside())


def in_branch_of_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=outside("c"))], "inner", [], [])
    outer = helper.make_graph([helper.make_node("If", ["b"], ["o"], then_branch=inner)], "outer", [], [])
    model.graph.node.append(helper.make_node("If", ["b"], ["z"], then_branch=outer))


def in_function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Constant", [], ["c"], value=outside("c"))]
    model.functions.append(helper.make_function("d", "f", [], ["c"], body, [helper.make_opsetid("", 13)]))


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside())


HIDING_PLACES = [
    in_initializer,
    only_located,
    only_entries,
    in_constant,
    in_tensor_list,
    in_sparse_weights,
    in_sparse_indices_of_an_attribute,
    in_branch_of_branch,
    in_function,
    in_training,
]


@pytest.mark.parametrize("hide", HIDING_PLACES)
def test_weights_in_another_file_are_found_wherever_they_hide(hide):
    model = minimal()
    hide(model)
    with pytest.raises(ModelCorrupt, match="weights in another file") as caught:
        inspect(model.SerializeToString(), "m.onnx")
    assert "one file" in str(caught.value)


def test_a_second_graph_field_is_looked_at_too():
    # protobuf merges repeated occurrences of a message field; so must the check
    second = onnx.ModelProto()
    second.graph.initializer.append(outside())
    with pytest.raises(ModelCorrupt, match="another file"):
        inspect(minimal().SerializeToString() + second.SerializeToString(), "m.onnx")


def test_a_compiled_model_in_another_file_is_refused():
    model = minimal()
    model.graph.node.append(
        helper.make_node("EPContext", [], ["z"], ep_cache_context="../x.bin", embed_mode=0)
    )
    with pytest.raises(ModelCorrupt, match="compiled model"):
        inspect(model.SerializeToString(), "m.onnx")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<!doctype html><html><body>Log in</body></html>", id="web page"),
        pytest.param(b"hello, this is text\n" * 50, id="text"),
        pytest.param(b"\x00" * 4096, id="zeros"),
        pytest.param(b"\xff" * 4096, id="ones"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", id="lfs pointer"
        ),
        pytest.param(b"\x08\x07", id="a header alone"),
        pytest.param(b"\x20\x00\x00\x00ORTM" + b"\x00" * 100, id="ORT format"),
        pytest.param(b"\x0b", id="protobuf group"),
        pytest.param(b"\x3a\xff\xff\xff\xff\x0f", id="longer than the file"),
    ],
)
def test_what_is_no_model_is_refused(data):
    with pytest.raises(ModelCorrupt):
        inspect(data, "m.onnx")


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail_otherwise(data):
    try:
        facts = inspect(data, "m.onnx")
    except ModelCorrupt:
        return
    assert isinstance(facts.inputs, tuple)


@given(st.data())
def test_no_damage_makes_it_fail_otherwise(data):
    good = bytearray(minimal().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        facts = inspect(cut, "m.onnx")
    except ModelCorrupt:
        return
    assert isinstance(facts.outputs, tuple)


def test_endless_nesting_and_endless_parts_end(monkeypatch):
    def field(number: int, body: bytes) -> bytes:
        size, length = len(body), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + body

    graph = field(2, b"leaf")
    for _ in range(40):
        graph = field(1, field(5, field(6, graph)))  # graph of a node's attribute
    with pytest.raises(ModelCorrupt, match="nested too deep"):
        inspect(field(7, graph), "m.onnx")
    monkeypatch.setattr(onnxfile, "_MAX_FIELDS", 10)
    with pytest.raises(ModelCorrupt, match="more parts"):
        inspect(minimal().SerializeToString(), "m.onnx")


def test_reading_wants_a_regular_file_of_sane_size(tmp_path: Path, monkeypatch):
    with pytest.raises(UnknownModel, match="no model file"):
        read_model(tmp_path / "absent.onnx")
    with pytest.raises(ModelCorrupt, match="directory"):
        read_model(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelCorrupt, match="not a file"):
        read_model(tmp_path / "pipe.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelCorrupt, match="empty"):
        read_model(tmp_path / "empty.onnx")
    monkeypatch.setattr(onnxfile, "MAX_BYTES", 100)
    (tmp_path / "big.onnx").write_bytes(b"x" * 101)
    with pytest.raises(ModelCorrupt, match="limit of 100"):
        read_model(tmp_path / "big.onnx")
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        read_model(loop)
