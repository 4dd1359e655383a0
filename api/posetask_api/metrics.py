"""What the REST server tells Prometheus. Routes are labels, never paths: no label names a task."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class ApiMetrics:
    """Of one server.

    >>> metrics = ApiMetrics()
    >>> metrics.request("GET", "/status/{task_id}", 200, 0.01)
    >>> 'posetask_api_requests_total{method="GET",route="/status/{task_id}",status="200"} 1.0' in (
    ...     metrics.render({"running": 1}).decode())
    True
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        labels = ["method", "route"]
        self._requests = Counter(
            "posetask_api_requests_total", "Requests answered", [*labels, "status"], registry=registry
        )
        self._seconds = Histogram(
            "posetask_api_request_seconds",
            "From request to answer",
            labels,
            buckets=_SECONDS,
            registry=registry,
        )
        self._uploaded = Counter(
            "posetask_api_upload_bytes_total", "Bytes of uploads stored", registry=registry
        )
        self._refused = Counter(
            "posetask_api_uploads_refused_total", "Uploads that became no task", ["code"], registry=registry
        )
        self._tasks = Gauge("posetask_api_tasks", "Tasks by state", ["state"], registry=registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def uploaded(self, nbytes: int) -> None:
        """So many bytes more were stored."""
        self._uploaded.inc(nbytes)

    def refused(self, code: str) -> None:
        """An upload became no task."""
        self._refused.labels(code).inc()

    def render(self, tasks: dict[str, int]) -> bytes:
        """In Prometheus' text format, with the tasks as they are now."""
        for state, count in tasks.items():
            self._tasks.labels(state).set(count)
        return generate_latest(self._registry)
