"""Tiny ONNX graphs whose answers depend on every pixel, and a web server on this machine."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_reference", Path(__file__).parent / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _const(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def _save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture
def make_yolox(tmp_path: Path) -> Callable[..., Path]:
    """A detector with YOLOX's contract: each anchor's answer is a linear map of its cell's mean colour."""

    def make(
        name: str = "tiny_yolox.onnx",
        *,
        size: int = 64,
        classes: int = 3,
        batch: int | str = 1,
        gain: float = 0.15,
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        strides = (8, 16, 32)
        anchors = sum((size // s) ** 2 for s in strides)
        weight = rng.normal(0, 1, (3, 5 + classes)) * gain
        weight[:, :4] *= 0.03
        bias = -weight.sum(axis=0) * 127.5
        bias[2:4] += 0.7
        nodes, parts = [], []
        for s in strides:
            nodes += [
                helper.make_node(
                    "AveragePool", ["images"], [f"pool{s}"], kernel_shape=[s, s], strides=[s, s]
                ),
                helper.make_node("Reshape", [f"pool{s}", "flat"], [f"flat{s}"]),
            ]
            parts.append(f"flat{s}")
        nodes += [
            helper.make_node("Concat", parts, ["cells"], axis=2),
            helper.make_node("Transpose", ["cells"], ["rows"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["rows", "weight"], ["mapped"]),
            helper.make_node("Add", ["mapped", "bias"], ["raw"]),
            helper.make_node("Split", ["raw", "halves"], ["boxes", "logits"], axis=2),
            helper.make_node("Sigmoid", ["logits"], ["scores"]),
            helper.make_node("Concat", ["boxes", "scores"], ["output"], axis=2),
        ]
        graph = helper.make_graph(
            nodes,
            "yolox",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size, size])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, anchors, 5 + classes])],
            [
                _const("flat", [0, 3, -1], np.int64),
                _const("weight", weight),
                _const("bias", bias),
                _const("halves", [4, 1 + classes], np.int64),
            ],
        )
        return _save(graph, tmp_path / name)

    return make


@pytest.fixture
def make_nms_yolox(tmp_path: Path) -> Callable[..., Path]:
    """A detector with MMDeploy's contract: fixed boxes whose scores scale with the picture's mean."""

    def make(dets: Any, labels: Any | None = None, *, name: str = "tiny_nms.onnx", size: int = 64) -> Path:
        dets = np.asarray(dets, np.float32).reshape(1, -1, 5)
        gain = np.zeros((1, 1, 5), np.float32)
        gain[..., 4] = 1
        nodes = [
            helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Mul", ["mean", "unit"], ["share"]),
            helper.make_node("Reshape", ["share", "shape"], ["level"]),
            helper.make_node("Mul", ["level", "gain"], ["scaled"]),
            helper.make_node("Add", ["scaled", "keep"], ["factor"]),
            helper.make_node("Mul", ["fixed", "factor"], ["dets"]),
        ]
        outputs = [helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, "people", 5])]
        weights = [
            _const("unit", 1 / 255),
            _const("shape", [1, 1, 1], np.int64),
            _const("gain", gain),
            _const("keep", 1 - gain),
            _const("fixed", dets),
        ]
        if labels is not None:
            nodes.append(helper.make_node("Identity", ["classes"], ["labels"]))
            outputs.append(helper.make_tensor_value_info("labels", TensorProto.INT64, [1, "people"]))
            weights.append(_const("classes", np.reshape(labels, (1, -1)), np.int64))
        graph = helper.make_graph(
            nodes,
            "nms",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, size, size])],
            outputs,
            weights,
        )
        return _save(graph, tmp_path / name)

    return make


@pytest.fixture
def make_pose(tmp_path: Path) -> Callable[..., Path]:
    """A pose estimator with RTMPose's contract: histograms map columns' and rows' means."""

    def make(
        name: str = "tiny_pose.onnx",
        *,
        width: int = 24,
        height: int = 32,
        keypoints: int = 17,
        batch: int | str = "batch",
        shift: float = 0.0,
        declare: bool = True,
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        nodes, weights, outputs = [], [], []
        for axis, side, out in ((2, width, "simcc_x"), (3, height, "simcc_y")):
            nodes += [
                helper.make_node("ReduceMean", ["input"], [f"mean{axis}"], axes=[axis], keepdims=0),
                helper.make_node("MatMul", [f"mean{axis}", f"spread{axis}"], [f"wide{axis}"]),
                helper.make_node("MatMul", [f"mix{axis}", f"wide{axis}"], [f"mixed{axis}"]),
                helper.make_node("Add", [f"mixed{axis}", f"shift{axis}"], [out]),
            ]
            weights += [
                _const(f"spread{axis}", rng.normal(0, 1, (side, 2 * side))),
                _const(f"mix{axis}", rng.normal(0, 1, (keypoints, 3))),
                _const(f"shift{axis}", shift),
            ]
            dims = [batch, keypoints, 2 * side] if declare else [batch, f"{out}_k", f"{out}_bins"]
            outputs.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, dims))
        graph = helper.make_graph(
            nodes,
            "pose",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, height, width])],
            outputs,
            weights,
        )
        return _save(graph, tmp_path / name)

    return make


Route = tuple[int, dict[str, str], bytes]


class Web:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[str] = []
        self.base = ""

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        """Answer ``path`` so; gives the URL. A ``content_length`` of "" leaves the header out."""
        named = {key.replace("_", "-").title(): value for key, value in headers.items()}
        named.setdefault("Content-Length", str(len(body)))
        self.routes[path] = (status, {k: v for k, v in named.items() if v}, body)
        return self.base + path


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            status, headers, body = state.routes.get(self.path, (404, {"Content-Length": "0"}, b""))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
