"""The Grafana dashboard: tasks, stages, lag, latency, operator. A list of queries becomes panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_WIDTH, _HEIGHT = 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: Above it.
        queries: PromQL -> legend.
        unit: Of Grafana.
        kind: ``timeseries`` or ``stat``.
        words: What it says, and what a bad value means.
    """

    title: str
    queries: dict[str, str]
    words: str
    unit: str = "short"
    kind: str = "timeseries"


def _rate(metric: str, by: str, labels: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{labels}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str = "") -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'le, {by}' if by else 'le')})"


def _ended(result: str) -> str:
    metric = "posetask_tasks_finished_total"
    return f'sum by (reason) (increase({metric}{{result="{result}"}}[$__range]))'


_STAGE, _TASK = "posetask_io_stage", "posetask_io_task"  # of the pods, by way of the PodMonitor
_OURS = '{controller="posetask"}'

ROWS: dict[str, tuple[Panel, ...]] = {
    "Tasks": (
        Panel(
            "Tasks by state",
            {"sum by (state) (posetask_tasks)": "{{state}}"},
            "PoseTasks that the leading replica knows.",
        ),
        Panel(
            "Ended",
            {_ended("succeeded"): "{{reason}}", _ended("failed"): "{{reason}}"},
            "Tasks that ended in the time shown, by reason; docs/troubleshooting.md has the remedies.",
            kind="stat",
        ),
        Panel(
            "Wait for admission",
            {
                _quantile(0.5, "posetask_queue_wait_seconds"): "p50",
                _quantile(0.95, "posetask_queue_wait_seconds"): "p95",
            },
            "From the queue to the GPUs.",
            unit="s",
        ),
        Panel(
            "GPUs given and to give",
            {
                "sum by (profile) (posetask_gpus_released)": "{{profile}} given",
                "sum by (profile) (posetask_gpus_budget)": "{{profile}} budget",
            },
            "Given includes pods that are still terminating.",
        ),
    ),
    "Stages": (
        Panel(
            "Frames a second",
            {_rate("posetask_stage_frames_total", _STAGE): f"{{{{{_STAGE}}}}}"},
            "Of all tasks together.",
        ),
        Panel(
            "Records that wait",
            {
                f"sum by ({_STAGE}, topic) (posetask_stage_lag_records)": f"{{{{{_STAGE}}}}} {{{{topic}}}}",
            },
            "The stage with the most is the slow one: replicas, or a GPU.",
        ),
        Panel(
            "Duration of a step, p95",
            {_quantile(0.95, "posetask_stage_step_seconds", "step"): "{{step}}"},
            "Of a batch: decode, inference, tracking, drawing, encode.",
            unit="s",
        ),
        Panel(
            "Bytes written",
            {_rate("posetask_stage_written_bytes_total", _STAGE): f"{{{{{_STAGE}}}}}"},
            "To the brokers.",
            unit="Bps",
        ),
        Panel(
            "Frames given up",
            {
                f"sum by ({_TASK}) (increase(posetask_stage_quarantined_frames_total[$__range]))": (
                    f"{{{{{_TASK}}}}}"
                )
            },
            "Frames at which a stage died again and again.",
            kind="stat",
        ),
    ),
    "Operator": (
        Panel(
            "Leader",
            {f"sum(leader_election_master_status{_OURS})": "leads"},
            "1; anything else for minutes is an alert.",
            kind="stat",
        ),
        Panel(
            "Looks at tasks",
            {_rate("controller_runtime_reconcile_total", "result", _OURS): "{{result}}"},
            "Reconciles a second, by result.",
            unit="ops",
        ),
        Panel(
            "Duration of a look, p99",
            {_quantile(0.99, "controller_runtime_reconcile_time_seconds"): "p99"},
            "Observe, plan, apply.",
            unit="s",
        ),
        Panel(
            "Queue",
            {f"sum(workqueue_depth{_OURS})": "waiting"},
            "Tasks that wait to be looked at.",
        ),
        Panel(
            "Requests to the API server",
            {_rate("rest_client_requests_total", "code"): "{{code}}"},
            "By status; 0 is no answer.",
            unit="ops",
        ),
        Panel(
            "Calls to the brokers, p95",
            {_quantile(0.95, "posetask_kafka_admin_seconds", "call"): "{{call}}"},
            "Creating, confirming and deleting topics and groups.",
            unit="s",
        ),
        Panel(
            "Watch behind",
            {"max(posetask_watch_lag_seconds)": "seconds"},
            "At 90 s the replica starts anew.",
            unit="s",
        ),
        Panel(
            "Memory of the operator",
            {'process_resident_memory_bytes{job=~".*operator.*"}': "{{pod}}"},
            "Resident.",
            unit="bytes",
        ),
    ),
}


def dashboard() -> Json:
    """The whole of it, as Grafana imports it.

    >>> dashboard()["uid"]
    'posetask'
    """
    panels: list[Json] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            }
        )
        top += 1
        for number, panel in enumerate(row):
            x, y = number % 3 * _WIDTH, top + number // 3 * _HEIGHT
            panels.append(_panel(len(panels) + 1, panel, x, y))
        top += -(-len(row) // 3) * _HEIGHT
    return {
        "uid": "posetask",
        "title": "PoseTask",
        "tags": ["posetask"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
            ]
        },
        "panels": panels,
    }


def queries() -> list[str]:
    """Every query, for a test against a real Prometheus."""
    return [query for row in ROWS.values() for panel in row for query in panel.queries]


def _panel(number: int, panel: Panel, x: int, y: int) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.words,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}}
        if panel.kind == "timeseries"
        else {},
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
                "instant": panel.kind == "stat",
            }
            for i, (query, legend) in enumerate(panel.queries.items())
        ],
    }
