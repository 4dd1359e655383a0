"""ONNX Runtime behind one small face: which device, how many at once, which batch sizes.

On a CPU there is **one** session of one thread, run by as many callers at once as there are cores. Each
run stays on its caller's thread, so it behaves as a pool of single-thread sessions does (measured equal
within the noise, results bit for bit equal), and the weights are in memory once. Threads inside a run
are slower for these small networks (DESIGN §8).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posetask.errors import InvalidParameters, ModelContract, ModelCorrupt, NotAvailable
from posetask.models.onnxfile import inspect, read_model
from posetask.telemetry import available_cores

Floats = npt.NDArray[np.float32]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

CPU_BATCH = 4
"""Largest batch on a CPU: 1, 2 and 4 cost the same per person, 8 costs 7 % more, 32 a third more."""

GPU_BUCKETS = (1, 2, 4, 8, 16, 32)
"""Batches are padded to these: cuDNN searches an algorithm for every new shape."""

_CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # EXHAUSTIVE costs over half a second per shape, for no gain later
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # ten bits of mantissa would move keypoints; a self-check must come first (DESIGN §8)
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What really runs: for the summary, the result's metadata and the task's status."""

    name: str
    version: str
    sha256: str
    provider: str
    width: int
    height: int


class SessionPool:
    """A model, loaded; thread-safe.

    Args:
        path: The .onnx file. It is read once, and no other file is ever opened for it.
        device: ``auto`` (CUDA where it works, else the CPU), ``cpu`` or ``cuda``.
        sessions: Callers at once on a CPU; None: the cores this process may use.
        sha256: What the file must have; None: anything.

    Attributes:
        sha256: Of the file.
        provider: The execution provider that is really active.
        shape: The graph's input shape, None for free dimensions.
        fixed_batch: The graph's batch size, None where it is free.
        max_batch: Largest batch ``run`` takes.
        concurrency: Callers at work at once; others wait.

    Raises:
        UnknownModel: No such file.
        ModelCorrupt: Not a complete ONNX model, or not the one expected.
        ModelContract: Not one float32 image input.
        NotAvailable: ``cuda`` was asked for and is not there, or ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        sessions: int | None = None,
        sha256: str | None = None,
    ) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise InvalidParameters(f"unknown device {device!r}", hint="use auto, cpu or cuda")
        if sessions is not None and sessions < 1:
            raise InvalidParameters(f"sessions must be at least 1, not {sessions}")
        self._name = Path(path).name
        data = read_model(path)
        digest = hashlib.sha256(data).hexdigest()
        if sha256 is not None and digest != sha256:
            raise ModelCorrupt(
                f"{self._name} has sha256 {digest}, expected {sha256}",
                hint="fetch it again: posetask models pull --force",
            )
        inspect(data, self._name)
        self.sha256 = digest
        self._session = self._load(data, device)
        self.provider: str = self._session.get_providers()[0]
        self._input, self.shape = self._image_input()
        batch = self.shape[0]
        self.fixed_batch: int | None = batch
        on_gpu = self.provider != CPU
        self.max_batch: int = batch if batch is not None else GPU_BUCKETS[-1] if on_gpu else CPU_BATCH
        self.concurrency: int = 1 if on_gpu else sessions or available_cores()
        self._permits = threading.BoundedSemaphore(self.concurrency)
        self._closing = threading.Lock()

    @property
    def on_gpu(self) -> bool:
        """True where a GPU does the work."""
        return self.provider != CPU

    def padded(self, n: int) -> int:
        """Give the batch size that ``n`` items are run in: the graph's, the GPU's next bucket, or ``n``."""
        if self.fixed_batch is not None:
            return self.fixed_batch
        return next(b for b in GPU_BUCKETS if b >= n) if self.on_gpu else n

    def run(self, inputs: Floats, book: Callable[[float], None] | None = None) -> list[Floats]:
        """Infer; waits while as many callers are at work as there are sessions.

        Args:
            inputs: ``(padded batch, 3, height, width)``, contiguous.
            book: Told the seconds of inference, waiting excluded.

        Returns:
            The outputs, in the graph's order.

        Raises:
            ModelContract: The graph cannot digest its own declared input.
        """
        with self._permits:
            session = self._session
            if session is None:
                raise RuntimeError(f"{self._name} is closed")
            start = time.perf_counter()
            try:
                outputs: list[Floats] = session.run(None, {self._input: inputs})
            except Exception as error:
                raise ModelContract(
                    f"{self._name} failed on an input of {inputs.shape}: {_first_line(error)}",
                    hint="posetask models verify",
                ) from None
            if book is not None:
                book(time.perf_counter() - start)
        return outputs

    def probe(self, height: int, width: int) -> list[tuple[str, Floats]]:
        """Run once on an empty picture (on a GPU once per bucket): warms up, and shows the real shapes.

        Args:
            height: For graphs whose input height is free.
            width: Likewise.

        Returns:
            Names and outputs of the smallest batch.

        Raises:
            ModelContract: The input has another size, or the graph fails.
        """
        declared = self.shape[2:]
        if any(d is not None and d != want for d, want in zip(declared, (height, width), strict=True)):
            raise ModelContract(
                f"{self._name} takes pictures of {declared[1]}x{declared[0]}, expected {width}x{height}",
                hint="is it another model? posetask models list shows what each takes",
            )
        buckets = GPU_BUCKETS if self.on_gpu and self.fixed_batch is None else (self.padded(1),)
        runs = [self.run(np.zeros((n, 3, height, width), np.float32)) for n in buckets]
        names = [str(o.name) for o in self._session.get_outputs()]
        return list(zip(names, runs[0], strict=True))

    def close(self) -> None:
        """Free the weights; runs under way end first."""
        with self._closing:
            for _ in range(self.concurrency):
                self._permits.acquire()
            self._session = None
            self._permits.release(self.concurrency)

    def _load(self, data: bytes, device: str) -> Any:
        ort = _runtime()
        has_cuda = CUDA in ort.get_available_providers()
        if device == "cuda" and not has_cuda:
            raise NotAvailable(
                "the installed ONNX Runtime has no CUDA provider",
                hint="install posetask[gpu] in place of posetask[cpu], or use --device cpu",
            )
        if device == "cpu" or not has_cuda:
            return self._create(ort, data, [CPU])
        try:
            session, why = self._create(ort, data, [(CUDA, _CUDA_OPTIONS), CPU]), "it fell back to the CPU"
        except ModelCorrupt as error:
            session, why = self._create(ort, data, [CPU]), error.message  # raises if the model is to blame
        if device == "cuda" and session.get_providers()[0] != CUDA:
            raise NotAvailable(
                f"ONNX Runtime could not start its CUDA provider: {why}",
                hint="check the driver, CUDA and cuDNN: posetask doctor",
            )
        return session

    def _create(self, ort: Any, data: bytes, providers: list[Any]) -> Any:
        options = ort.SessionOptions()
        # One thread per run: sizing by the host's cores ignores cgroups (onnxruntime#29510).
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # The layout optimisations of ALL make these networks a third faster than EXTENDED does.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return ort.InferenceSession(data, options, providers=providers)
        except Exception as error:
            raise ModelCorrupt(
                f"{self._name} does not load: {_first_line(error)}", hint="posetask models verify"
            ) from None

    def _image_input(self) -> tuple[str, tuple[int | None, ...]]:
        inputs = self._session.get_inputs()
        shape = tuple(d if isinstance(d, int) and d > 0 else None for d in inputs[0].shape) if inputs else ()
        if (
            len(inputs) != 1
            or inputs[0].type != "tensor(float)"
            or len(shape) != 4
            or shape[1] not in (3, None)
        ):
            found = "; ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "none"
            raise ModelContract(
                f"{self._name}: expected one input of float32 [batch, 3, height, width], found {found}"
            )
        return inputs[0].name, shape


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise NotAvailable(
            "ONNX Runtime is not installed", hint="pip install 'posetask[cpu]', or 'posetask[gpu]' for CUDA"
        ) from None
    return onnxruntime


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:300] if text else type(error).__name__
