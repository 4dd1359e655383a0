"""What the operator tells Prometheus: controller-runtime's names, so that common dashboards fit, plus ours.

No label holds the name of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from posetask.errors import PoseTaskError
from posetask.spec.status import PoseTaskStatus

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAITS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
CONTROLLER = "posetask"


@dataclass(frozen=True, slots=True)
class Sample:
    """What is asked of the operator at every scrape.

    Attributes:
        depth: Keys that could be worked on.
        adds: Keys ever added.
        retries: Failures that were queued again.
        active: Workers that work.
        workers: Workers there are.
        unfinished: Seconds of all looks going on.
        longest: Seconds of the longest look going on.
        leads: Whether this replica holds the lease.
        tasks: Count of tasks by state.
        watch_lag: Seconds for which the watch has owed us a change that a LIST showed.
        gpus: Profile -> (released to tasks, budget); no budget is None.
    """

    depth: int = 0
    adds: int = 0
    retries: int = 0
    active: int = 0
    workers: int = 0
    unfinished: float = 0.0
    longest: float = 0.0
    leads: bool = False
    tasks: Mapping[str, int] = field(default_factory=dict)
    watch_lag: float = 0.0
    gpus: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)


class OperatorMetrics:
    """The metrics of one replica.

    Args:
        sample: Asked at every scrape.

    >>> metrics = OperatorMetrics(lambda: Sample(tasks={"Running": 2}))
    >>> metrics.request("POST", 201, 0.01)
    >>> text = metrics.render().decode()
    >>> 'posetask_tasks{state="Running"} 2.0' in text, 'code="201",method="POST"' in text
    (True, True)
    """

    def __init__(self, sample: Callable[[], Sample]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(_Collector(sample))

        def histogram(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, words, labels, buckets=buckets, registry=registry)

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(name, words, labels, registry=registry)

        self._results = counter(
            "controller_runtime_reconcile_total", "Looks, by result", "controller", "result"
        )
        self._errors = counter("controller_runtime_reconcile_errors_total", "Looks that failed", "controller")
        self._seconds = histogram(
            "controller_runtime_reconcile_time_seconds", "Duration of a look", _SECONDS, "controller"
        )
        self._waited = histogram(
            "workqueue_queue_duration_seconds", "From due to begun", _SECONDS, "name", "controller"
        )
        self._worked = histogram(
            "workqueue_work_duration_seconds", "Duration of a look", _SECONDS, "name", "controller"
        )
        self._requests = counter(
            "rest_client_requests_total", "Requests to the API server; code 0: no answer", "code", "method"
        )
        self._latency = histogram(
            "rest_client_request_duration_seconds", "Of requests to the API server", _SECONDS, "verb"
        )
        self.queue_wait = histogram(
            "posetask_queue_wait_seconds", "From created to admitted", _WAITS, "profile"
        )
        self.admissions = counter("posetask_admissions_total", "Attempts admitted", "profile")
        self.finished = counter("posetask_tasks_finished_total", "Tasks that ended", "result", "reason")
        self.actions = counter(
            "posetask_actions_total", "Things done, by kind and result", "action", "result"
        )
        self.topics = histogram(
            "posetask_kafka_admin_seconds", "Of calls to the brokers' admin interface", _SECONDS, "call"
        )
        self.kafka_errors = counter("posetask_kafka_errors_total", "Calls that failed", "call", "reason")
        self.swept = counter("posetask_swept_topics_total", "Topics of vanished tasks that were deleted")
        self.orphaned = counter(
            "posetask_orphaned_runs_total", "Runs let go with their topics, Kafka being gone for good"
        )
        self.finalizer = histogram(
            "posetask_cleanup_seconds", "From the request to delete a task until it was let go", _WAITS
        )

    def look(self, result: str, seconds: float) -> None:
        """A look at a task ended."""
        self._results.labels(CONTROLLER, result).inc()
        self._seconds.labels(CONTROLLER).observe(seconds)
        self._worked.labels(CONTROLLER, CONTROLLER).observe(seconds)
        if result == "error":
            self._errors.labels(CONTROLLER).inc()

    def waited(self, seconds: float) -> None:
        """A key waited so long from when it was due."""
        self._waited.labels(CONTROLLER, CONTROLLER).observe(seconds)

    def request(self, method: str, status: int, seconds: float) -> None:
        """A request to the API server ended."""
        self._requests.labels(str(status), method).inc()
        self._latency.labels(method).observe(seconds)

    def kafka_call(self, call: str, seconds: float, error: PoseTaskError | None) -> None:
        """A call to the brokers ended."""
        self.topics.labels(call).observe(seconds)
        if error is not None:
            self.kafka_errors.labels(call, error.reason).inc()

    def action(self, name: str, result: str) -> None:
        """An action of a plan was done, or failed for a reason."""
        self.actions.labels(name, result).inc()
        if name == "WriteTombstone" and result == "done":
            self.orphaned.inc()

    def transition(self, before: PoseTaskStatus, after: PoseTaskStatus, profile: str) -> None:
        """A status was written."""
        if after.attempt > before.attempt and after.admitted_time is not None:
            self.admissions.labels(profile).inc()
            if after.queued_time is not None:
                waited = (after.admitted_time - after.queued_time).total_seconds()
                self.queue_wait.labels(profile).observe(max(0.0, waited))
        if after.terminal is not None and before.terminal is None:
            result = "succeeded" if after.terminal.status == "True" else "failed"
            self.finished.labels(result, after.terminal.reason).inc()

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, sample: Callable[[], Sample]) -> None:
        self._sample = sample

    def collect(self) -> Iterable[Metric]:
        s = self._sample()
        queue = {"name": CONTROLLER, "controller": CONTROLLER}
        one = {"controller": CONTROLLER}
        yield _gauge("workqueue_depth", "Keys that wait", queue, s.depth)
        yield _counter("workqueue_adds", "Keys ever added", queue, s.adds)
        yield _counter("workqueue_retries", "Failures queued again", queue, s.retries)
        yield _gauge("workqueue_unfinished_work_seconds", "Of looks going on", queue, s.unfinished)
        yield _gauge("workqueue_longest_running_processor_seconds", "Of a look", queue, s.longest)
        yield _gauge("controller_runtime_active_workers", "Workers that work", one, s.active)
        yield _gauge("controller_runtime_max_concurrent_reconciles", "Workers", one, s.workers)
        yield _gauge("leader_election_master_status", "1 when this replica works", one, float(s.leads))
        yield _gauge("posetask_watch_lag_seconds", "What the watch owes us", {}, s.watch_lag)
        tasks = GaugeMetricFamily("posetask_tasks", "Tasks by state", labels=["state"])
        for state, count in sorted(s.tasks.items()):
            tasks.add_metric([state], count)
        yield tasks
        used = GaugeMetricFamily("posetask_gpus_released", "Accelerators given to tasks", labels=["profile"])
        budget = GaugeMetricFamily("posetask_gpus_budget", "Accelerators to give", labels=["profile"])
        for profile, (given, most) in sorted(s.gpus.items()):
            used.add_metric([profile], given)
            if most is not None:
                budget.add_metric([profile], most)
        yield used
        yield budget


def _gauge(name: str, words: str, labels: Mapping[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, words, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counter(name: str, words: str, labels: Mapping[str, str], value: float) -> Metric:
    family = CounterMetricFamily(name, words, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
