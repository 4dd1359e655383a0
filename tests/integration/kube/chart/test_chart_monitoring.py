"""Alerts by promtool, and the dashboard against what the operator and the stages really say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from posetask.telemetry.metrics import StageMetrics, StageSample
from posetask_operator.edge.metrics import OperatorMetrics, Sample

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[4]
ALERTS = ROOT / "charts" / "posetask" / "files" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
_METRIC = re.compile(
    r"\b(?:posetask|controller_runtime|workqueue|rest_client|leader_election|process)_[a-z_]+\b"
)
_LABELS = ("posetask_io_stage", "posetask_io_task")  # of Prometheus, by way of the PodMonitor


def dashboard_queries() -> list[str]:
    sys.path.insert(0, str(ROOT / "scripts"))
    from chartlib.dashboard import queries

    return queries()


@pytest.fixture(scope="module")
def said() -> set[str]:
    """Names of all series that an operator and a stage give, after one of everything happened."""
    operator = OperatorMetrics(
        lambda: Sample(tasks={"Running": 1}, gpus={"gpu": (1, 8)}, leads=True, watch_lag=0.0)
    )
    operator.look("success", 0.1)
    operator.look("error", 0.1)
    operator.waited(0.1)
    operator.request("GET", 200, 0.1)
    operator.kafka_call("create", 0.1, None)
    operator.kafka_errors.labels("create", "KafkaUnavailable").inc()
    operator.admissions.labels("gpu").inc()
    operator.queue_wait.labels("gpu").observe(1)
    operator.finished.labels("succeeded", "Completed").inc()
    stage = StageMetrics("yolox", "1", lambda: StageSample(frames=7, lag={"raw_frames": 1}))
    stage.step("yolox.infer", 0.1)
    text = operator.render().decode() + stage.render().decode()
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("query", dashboard_queries())
def test_a_query_of_the_dashboard_asks_for_what_there_is(said: set[str], query: str) -> None:
    asked = {name for name in _METRIC.findall(query) if name not in _LABELS}
    assert asked
    assert asked <= said


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(said: set[str], rule: dict[str, object]) -> None:
    asked = set(_METRIC.findall(str(rule["expr"])))
    assert asked
    assert asked <= said
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool (run: make setup-real)")
    return found


def test_promtool_takes_the_rules(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULES)} rules found" in done.stdout


def test_each_alert_fires_where_it_should_and_nowhere_else(promtool: str, tmp_path: Path) -> None:
    rules = yaml.safe_load(ALERTS.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    text = (HERE / "alerts.yaml").read_text()
    (tmp_path / "alerts.yaml").write_text(text)
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "alerts.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    fired = {
        one["alertname"]
        for case in yaml.safe_load(text)["tests"]
        for one in case["alert_rule_test"]
        if one["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in RULES}
