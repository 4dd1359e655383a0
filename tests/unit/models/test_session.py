from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from posetask.errors import InvalidParameters, ModelContract, ModelCorrupt, NotAvailable, UnknownModel
from posetask.models import session as module
from posetask.models.session import CPU, CUDA, GPU_BUCKETS, SessionPool
from posetask.telemetry import available_cores


def save(path: Path, inputs, nodes=None, weights=(), outputs=None) -> Path:
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", [inputs[0].name], ["out"])],
        "g",
        inputs,
        outputs or [helper.make_tensor_value_info("out", inputs[0].type.tensor_type.elem_type, None)],
        list(weights),
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


def image(name="x", shape=("n", 3, 8, 8), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def test_on_a_cpu_it_is_as_wide_as_the_cores(tmp_path):
    pool = SessionPool(save(tmp_path / "m.onnx", [image()]), device="auto")
    assert pool.provider == CPU
    assert not pool.on_gpu
    assert pool.concurrency == available_cores()
    assert (pool.max_batch, pool.fixed_batch) == (4, None)
    assert [pool.padded(n) for n in (1, 3, 4)] == [1, 3, 4]
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(pool.run(x)[0], x)
    assert SessionPool(tmp_path / "m.onnx", sessions=7).concurrency == 7


def test_a_fixed_batch_is_kept(tmp_path):
    pool = SessionPool(save(tmp_path / "m.onnx", [image(shape=(2, 3, 8, 8))]))
    assert (pool.max_batch, pool.fixed_batch, pool.padded(1)) == (2, 2, 2)


def test_no_more_callers_at_once_than_sessions(tmp_path):
    pool = SessionPool(save(tmp_path / "m.onnx", [image()]), sessions=2)
    real, lock, now, most = pool._session, threading.Lock(), [0], [0]

    class Counting:
        def run(self, *args):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.01)
            outputs = real.run(*args)
            with lock:
                now[0] -= 1
            return outputs

    pool._session = Counting()
    threads = [
        threading.Thread(target=pool.run, args=(np.zeros((1, 3, 8, 8), np.float32),)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2


def test_closing_waits_for_who_is_at_work_and_may_be_repeated(tmp_path):
    pool = SessionPool(save(tmp_path / "m.onnx", [image()]), sessions=3)
    real, began, ended = pool._session, threading.Event(), threading.Event()

    class Slow:
        def run(self, *args):
            began.set()
            time.sleep(0.1)
            outputs = real.run(*args)
            ended.set()
            return outputs

    pool._session = Slow()
    worker = threading.Thread(target=pool.run, args=(np.zeros((1, 3, 8, 8), np.float32),))
    worker.start()
    assert began.wait(5)
    pool.close()
    assert ended.is_set()
    worker.join()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.run(np.zeros((1, 3, 8, 8), np.float32))


def test_the_file_must_be_the_one_that_was_resolved(tmp_path):
    path = save(tmp_path / "m.onnx", [image()])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert SessionPool(path, sha256=digest).sha256 == digest
    with pytest.raises(ModelCorrupt, match="expected 00000") as caught:
        SessionPool(path, sha256="0" * 64)
    assert "models pull" in caught.value.hint


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ([image(kind=TensorProto.FLOAT16)], "float16"),
        ([image(shape=("n", 1, 8, 8))], "'n', 1, 8, 8"),
        ([image(shape=("n", 3, 8))], "'n', 3, 8"),
        ([image(), image("other")], "other"),
    ],
)
def test_other_inputs_are_named(tmp_path, inputs, found):
    with pytest.raises(
        ModelContract, match=r"expected one input of float32 \[batch, 3, height, width\]"
    ) as caught:
        SessionPool(save(tmp_path / "m.onnx", inputs))
    assert found in str(caught.value)


def test_another_picture_size_is_named(tmp_path):
    pool = SessionPool(save(tmp_path / "m.onnx", [image()]))
    with pytest.raises(ModelContract, match="takes pictures of 8x8, expected 64x32"):
        pool.probe(32, 64)
    ((name, output),) = pool.probe(8, 8)
    assert name == "out"
    assert output.shape == (1, 3, 8, 8)


def test_a_graph_that_fails_on_its_own_input_is_named(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [image(shape=("n", 3, "h", "w"))],
        [helper.make_node("Reshape", ["x", "s"], ["out"])],
        [numpy_helper.from_array(np.array([1, 7], np.int64), "s")],
    )
    with pytest.raises(ModelContract, match=r"failed on an input of \(1, 3, 8, 8\)"):
        SessionPool(path).probe(8, 8)


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.99])
def test_a_truncated_model_is_corrupt(make_yolox, cut):
    path = make_yolox()
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(ModelCorrupt):
        SessionPool(path)


def test_a_graph_that_onnx_runtime_refuses_is_corrupt(tmp_path):
    path = save(tmp_path / "m.onnx", [image()], [helper.make_node("NoSuchThing", ["x"], ["out"])])
    with pytest.raises(ModelCorrupt, match="does not load"):
        SessionPool(path)


def test_hostile_models_never_reach_onnx_runtime(tmp_path, monkeypatch):
    """External data by every trick that ONNX Runtime was tried with, the hard link included."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(3 * 8 * 8, np.float32).tobytes())
    (tmp_path / "models").mkdir()
    os.link(secret, tmp_path / "models" / "weights.bin")
    (tmp_path / "models" / "link.bin").symlink_to(secret)
    monkeypatch.setattr(module, "_runtime", lambda: pytest.fail("ONNX Runtime was reached"))
    for location in ("weights.bin", "link.bin", "../secret.bin", str(secret), "weights.bin\0"):
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 3, 8, 8])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["out"])],
            "g",
            [image()],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            [tensor],
        )
        path = tmp_path / "models" / "m.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        with pytest.raises(ModelCorrupt, match="another file"):
            SessionPool(path)


def test_a_model_is_read_once_so_it_cannot_be_swapped_in_between(tmp_path, monkeypatch):
    path = save(tmp_path / "m.onnx", [image()])
    reads = []
    real = module.read_model
    monkeypatch.setattr(module, "read_model", lambda p: reads.append(p) or real(p))
    pool = SessionPool(path)
    path.unlink()
    assert len(reads) == 1
    assert pool.run(np.zeros((1, 3, 8, 8), np.float32))[0].shape == (1, 3, 8, 8)


def test_missing_files_and_parameters_out_of_range(tmp_path):
    with pytest.raises(UnknownModel):
        SessionPool(tmp_path / "absent.onnx")
    path = save(tmp_path / "m.onnx", [image()])
    with pytest.raises(InvalidParameters, match="tpu"):
        SessionPool(path, device="tpu")
    with pytest.raises(InvalidParameters, match="sessions"):
        SessionPool(path, sessions=0)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="this machine's ONNX Runtime has CUDA")
def test_cuda_without_a_cuda_runtime_says_what_to_install(tmp_path):
    with pytest.raises(NotAvailable, match="no CUDA provider") as caught:
        SessionPool(save(tmp_path / "m.onnx", [image()]), device="cuda")
    assert "posetask[gpu]" in caught.value.hint


def test_without_onnx_runtime_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NotAvailable, match="not installed") as caught:
        SessionPool(save(tmp_path / "m.onnx", [image()]))
    assert "posetask[cpu]" in caught.value.hint


class Gpu:
    """Stands in for an ONNX Runtime with CUDA: sessions work on the CPU, and say what the case wants."""

    ExecutionMode = ort.ExecutionMode
    GraphOptimizationLevel = ort.GraphOptimizationLevel
    SessionOptions = ort.SessionOptions

    def __init__(self, *, active: bool = True, raises: bool = False) -> None:
        self.active, self.raises = active, raises
        self.asked: list[list[object]] = []

    def get_available_providers(self):
        return [CUDA, CPU]

    def InferenceSession(self, data, options, providers):
        self.asked.append(providers)
        on_gpu = providers != [CPU]
        if on_gpu and self.raises:
            raise RuntimeError("CUDA failure 2: out of memory\nstack")
        real = ort.InferenceSession(data, options, providers=[CPU])
        names = [CUDA, CPU] if on_gpu and self.active else [CPU]
        return SimpleNamespace(
            run=real.run,
            get_providers=lambda: names,
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
        )


def test_on_a_gpu_one_session_runs_padded_buckets(tmp_path, monkeypatch):
    gpu = Gpu()
    monkeypatch.setattr(module, "_runtime", lambda: gpu)
    pool = SessionPool(save(tmp_path / "m.onnx", [image()]), device="cuda", sessions=8)
    assert pool.provider == CUDA
    assert pool.on_gpu
    assert pool.concurrency == 1
    assert pool.max_batch == 32
    assert [pool.padded(n) for n in (1, 2, 3, 5, 9, 17, 32)] == [1, 2, 4, 8, 16, 32, 32]
    name, options = gpu.asked[0][0]
    assert name == CUDA
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    real, sizes = pool._session.run, []
    pool._session.run = lambda names, feed: sizes.append(len(feed["x"])) or real(names, feed)
    pool.probe(8, 8)
    assert tuple(sizes) == GPU_BUCKETS  # every shape is warm before the first frame


@pytest.mark.parametrize("gpu", [Gpu(active=False), Gpu(raises=True)], ids=["fell back", "raised"])
def test_cuda_that_does_not_start_is_an_error_only_if_asked_for(tmp_path, monkeypatch, gpu):
    monkeypatch.setattr(module, "_runtime", lambda: gpu)
    path = save(tmp_path / "m.onnx", [image()])
    with pytest.raises(NotAvailable, match="could not start its CUDA provider") as caught:
        SessionPool(path, device="cuda")
    assert "posetask doctor" in caught.value.hint
    assert SessionPool(path, device="auto").provider == CPU
    gpu.asked.clear()
    assert SessionPool(path, device="cpu").provider == CPU
    assert gpu.asked == [[CPU]]


def test_a_corrupt_model_is_not_blamed_on_the_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_runtime", lambda: Gpu())
    path = save(tmp_path / "m.onnx", [image()], [helper.make_node("NoSuchThing", ["x"], ["out"])])
    with pytest.raises(ModelCorrupt, match="does not load"):
        SessionPool(path, device="cuda")
