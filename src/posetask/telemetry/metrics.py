"""What a stage's process tells Prometheus. No label names the task: its series are found by their target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_FRAMES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class StageSample:
    """What is asked of the stage at every scrape.

    Attributes:
        frames: Done in this run, by earlier processes too; in a service by it alone, for all tasks.
        quarantined: Given up by this process.
        ready: Whether the stage is open and reads.
        lag: Records that wait, by input topic (without the run).
        read: Bytes that came, by input topic.
        written: Bytes that were sent.
        model: Name, sha256 and provider; empty without a model.
        tasks: Of a resident service: how many there are in each state.
    """

    frames: int = 0
    quarantined: int = 0
    ready: bool = False
    lag: Mapping[str, int] = field(default_factory=dict)
    read: Mapping[str, int] = field(default_factory=dict)
    written: int = 0
    model: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, int] | None = None


class StageMetrics:
    """The metrics of one process with one stage.

    Args:
        stage: Its name.
        version: Of this program.
        sample: Asked at every scrape.

    >>> metrics = StageMetrics("yolox", "1.0", lambda: StageSample(frames=7))
    >>> metrics.step("yolox.infer", 0.02)
    >>> "posetask_stage_frames_total 7.0" in metrics.render().decode()
    True
    """

    def __init__(self, stage: str, version: str, sample: Callable[[], StageSample]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._batch = Histogram(
            "posetask_stage_batch_frames", "Frames in a batch", buckets=_FRAMES, registry=self._registry
        )
        self._steps = Histogram(
            "posetask_stage_step_seconds",
            "Work of one step; a step is stage.part",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_StageCollector(stage, version, sample))
        if find_spec("pynvml") is not None:
            self._registry.register(_GpuCollector())

    def batch(self, frames: int) -> None:
        """A batch of so many frames begins."""
        self._batch.observe(frames)

    def step(self, name: str, seconds: float) -> None:
        """A step took so long."""
        self._steps.labels(name).observe(seconds)

    def render(self) -> bytes:
        """In Prometheus' text format (:data:`CONTENT_TYPE`)."""
        return generate_latest(self._registry)


class _StageCollector(Collector):
    def __init__(self, stage: str, version: str, sample: Callable[[], StageSample]) -> None:
        self._stage, self._version, self._sample = stage, version, sample

    def collect(self) -> Iterable[Metric]:
        s = self._sample()
        yield InfoMetricFamily(
            "posetask_stage", "What runs", {"stage": self._stage, "version": self._version}
        )
        if s.model:
            yield InfoMetricFamily("posetask_stage_model", "The model and what runs it", dict(s.model))
        yield CounterMetricFamily("posetask_stage_frames", "Frames done, since the run began", value=s.frames)
        yield CounterMetricFamily(
            "posetask_stage_quarantined_frames", "Frames given up after crashes", value=s.quarantined
        )
        yield GaugeMetricFamily("posetask_stage_ready", "1 when it is open and reads", value=float(s.ready))
        lag = GaugeMetricFamily("posetask_stage_lag_records", "Records that wait", labels=["topic"])
        nbytes = CounterMetricFamily("posetask_stage_read_bytes", "Bytes that came", labels=["topic"])
        for topic, value in s.lag.items():
            lag.add_metric([topic], value)
        for topic, value in s.read.items():
            nbytes.add_metric([topic], value)
        yield lag
        yield nbytes
        yield CounterMetricFamily("posetask_stage_written_bytes", "Bytes that were sent", value=s.written)
        if s.tasks is not None:
            tasks = GaugeMetricFamily(
                "posetask_service_tasks", "Tasks that the service knows", labels=["state"]
            )
            for state, count in s.tasks.items():
                tasks.add_metric([state], count)
            yield tasks


class _GpuCollector(Collector):
    """Memory and utilisation of the GPUs that this process sees, by NVML; silent where there are none."""

    def collect(self) -> Iterable[Metric]:
        used = GaugeMetricFamily("posetask_gpu_memory_used_bytes", "In use", labels=["gpu"])
        total = GaugeMetricFamily("posetask_gpu_memory_bytes", "There is", labels=["gpu"])
        busy = GaugeMetricFamily("posetask_gpu_utilisation_ratio", "Busy share of time", labels=["gpu"])
        for gpu, (in_use, size, share) in enumerate(_gpus()):
            used.add_metric([str(gpu)], in_use)
            total.add_metric([str(gpu)], size)
            busy.add_metric([str(gpu)], share)
        return (used, total, busy)


def _gpus() -> list[tuple[float, float, float]]:
    library: Any = import_module("pynvml")
    try:
        library.nvmlInit()
        out = []
        for number in range(library.nvmlDeviceGetCount()):
            handle = library.nvmlDeviceGetHandleByIndex(number)
            memory = library.nvmlDeviceGetMemoryInfo(handle)
            share = library.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            out.append((float(memory.used), float(memory.total), share))
        return out
    except library.NVMLError:  # no driver, or a card that does not say
        return []
