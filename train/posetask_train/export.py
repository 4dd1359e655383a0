"""Writes the pair as ONNX, stored in FP16 and cast to FP32 at load.

Each weight is an FP16 initialiser behind a Cast to FP32; a session folds the casts when it is built, so
that every operator runs in FP32 on any provider.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from posetask_train.nets import Detector, Pose
from posetask_train.sizes import DETECTOR_SIZE, POSE_SIZE

_SMALL = 64  # weights of fewer elements stay FP32: nothing to save


def fuse(model: nn.Module) -> nn.Module:
    """Fold each batch norm into the convolution before it."""
    for module in model.modules():
        if isinstance(module, nn.Sequential) and len(module) >= 2 and isinstance(module[1], nn.BatchNorm2d):
            module[0] = torch.nn.utils.fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()
    return model


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights in FP16 behind a Cast; the graph's arithmetic stays FP32."""
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _SMALL:
            continue
        stored = numpy_helper.from_array(
            numpy_helper.to_array(tensor).astype(np.float16), tensor.name + "_fp16"
        )
        casts.append(helper.make_node("Cast", [stored.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.remove(tensor)
        graph.initializer.append(stored)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
    return model


def write(
    model: nn.Module, size: tuple[int, int], names: tuple[str, list[str]], path: Path, doc: str
) -> None:
    """Export one network with a free batch."""
    buffer = io.BytesIO()
    inputs, outputs = names
    example = torch.zeros(2, 3, *size)
    fused = fuse(model.cpu().float().eval())
    with torch.no_grad():
        answers = fused(example)
    torch.onnx.export(
        fused,
        (example,),
        buffer,
        input_names=[inputs],
        output_names=outputs,
        dynamic_axes={name: {0: "batch"} for name in [inputs, *outputs]},
        opset_version=17,
        dynamo=False,
    )
    proto = halve(onnx.load_from_string(buffer.getvalue()))
    # the tracer loses sizes behind a free batch; whoever reads the outline wants them
    for output, answer in zip(proto.graph.output, answers if len(outputs) > 1 else [answers], strict=True):
        for dim, length in zip(output.type.tensor_type.shape.dim[1:], answer.shape[1:], strict=True):
            dim.Clear()
            dim.dim_value = length
    proto.doc_string = doc
    proto.producer_name = "posetask-train"
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def average(checkpoint: Path, model: nn.Module) -> nn.Module:
    """Load the moving average of a checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["average"])
    return model


def pair(out: Path) -> None:
    """Export whichever of the two has a checkpoint; any moment of the training will do."""
    note = "Trained from scratch by the PoseTask project on synthetic people only. Apache-2.0."
    if (out / "detector.ckpt").exists():
        model = average(out / "detector.ckpt", Detector())
        write(model, DETECTOR_SIZE, ("images", ["output"]), out / "detector.onnx", note)
        print(f"wrote {out / 'detector.onnx'}", flush=True)
    if (out / "pose.ckpt").exists():
        model = average(out / "pose.ckpt", Pose())
        write(model, POSE_SIZE, ("input", ["simcc_x", "simcc_y"]), out / "pose.onnx", note)
        print(f"wrote {out / 'pose.onnx'}", flush=True)
