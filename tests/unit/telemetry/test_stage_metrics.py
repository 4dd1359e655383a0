"""What Prometheus reads of a stage."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from posetask.telemetry import Timings
from posetask.telemetry.metrics import StageMetrics, StageSample


def samples(metrics: StageMetrics) -> dict[str, float]:
    out = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for s in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))
            out[f"{s.name}{{{labels}}}" if labels else s.name] = s.value
    return out


def test_a_scrape_asks_the_stage_and_labels_topics_without_their_run() -> None:
    state = StageSample()
    metrics = StageMetrics("yolox", "1.2", lambda: state)
    assert samples(metrics)["posetask_stage_ready"] == 0
    state = StageSample(
        frames=7,
        quarantined=1,
        ready=True,
        lag={"raw_frames": 3},
        read={"raw_frames": 900},
        written=40,
        model={"name": "nano", "sha256": "ab", "provider": "CPU"},
    )
    got = samples(metrics)
    assert got["posetask_stage_frames_total"] == 7
    assert got["posetask_stage_quarantined_frames_total"] == 1
    assert got["posetask_stage_lag_records{topic=raw_frames}"] == 3
    assert got["posetask_stage_read_bytes_total{topic=raw_frames}"] == 900
    assert got["posetask_stage_written_bytes_total"] == 40
    assert got["posetask_stage_model_info{name=nano,provider=CPU,sha256=ab}"] == 1
    assert got["posetask_stage_info{stage=yolox,version=1.2}"] == 1


def test_steps_and_batches_become_histograms() -> None:
    metrics = StageMetrics("yolox", "1", StageSample)
    timings = Timings(metrics.step)
    timings.add("yolox.infer", 0.03)
    timings.add("yolox.infer", 0.3)
    metrics.batch(3)
    got = samples(metrics)
    assert got["posetask_stage_step_seconds_count{step=yolox.infer}"] == 2
    assert got["posetask_stage_step_seconds_bucket{le=0.05,step=yolox.infer}"] == 1
    assert got["posetask_stage_batch_frames_bucket{le=2.0}"] == 0
    assert got["posetask_stage_batch_frames_bucket{le=4.0}"] == 1
    assert timings.seconds() == {"yolox.infer": pytest.approx(0.33)}
