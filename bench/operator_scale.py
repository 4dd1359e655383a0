"""The real operator, API server, controllers, scheduler and broker; only nodes and pods are played (kwok).

Four phases: tasks at a steady pace; the same number at once, to be held running; the operator killed and
started again over these; all of them deleted. A fifth, short one counts the writes of a task's life by the
proxy of ``tests/support/operatorkit``, which the timed phases go without.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _report import table, write

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]

import httpx  # noqa: E402

from kubelib.api import Api  # noqa: E402
from kubelib.errors import KubeFailed  # noqa: E402
from operatorkit.apiproxy import ApiProxy  # noqa: E402
from operatorkit.player import Part, Player  # noqa: E402
from operatorkit.process import Operator, settings  # noqa: E402
from operatorkit.stand import TASKS, Stand, stand, task  # noqa: E402
from operatorkit.writes import Ledger  # noqa: E402

STAGES = 5
PACE = 5.0
COUNTED = 20
MOST_SECONDS = 600.0
CLEANUP = {"topicsAfterSeconds": 5, "ttlSecondsAfterSuccess": 10}


class Jobs:
    """When every Job was first seen, by a watch of our own."""

    def __init__(self, api: Api) -> None:
        self.seen: dict[str, dict[str, float]] = defaultdict(dict)  # namespace/task -> Job -> time
        self.uids: dict[str, set[str]] = defaultdict(set)  # namespace/Job -> uids
        self._api = api
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="jobs", daemon=True)
        self._thread.start()

    def complete(self, key: str) -> float | None:
        """When the last of a task's Jobs came; None where one is missing."""
        found = self.seen.get(key, {})
        return max(found.values()) if len(found) >= STAGES else None

    @property
    def duplicates(self) -> int:
        """Jobs that were made twice, and attempts that nothing explains."""
        twice = sum(len(uids) - 1 for uids in self.uids.values())
        return twice + sum(len(jobs) - STAGES for jobs in self.seen.values() if len(jobs) > STAGES)

    def _follow(self) -> None:
        while True:
            try:
                for kind, body in self._api.watch("batch/v1", "jobs", seconds=300):
                    now = time.monotonic()
                    meta = body["metadata"]
                    owner = (meta.get("labels") or {}).get("posetask.io/task")
                    if kind == "ADDED" and owner:
                        self.seen[f"{meta['namespace']}/{owner}"].setdefault(meta["name"], now)
                        self.uids[f"{meta['namespace']}/{meta['name']}"].add(meta["uid"])
            except (httpx.HTTPError, KubeFailed, KeyError):
                time.sleep(0.1)
            except RuntimeError:  # the client was closed: the bench is over
                return


class Bench:
    """One bench.

    Args:
        on: What runs.
        count: Tasks of a phase.
    """

    def __init__(self, on: Stand, count: int) -> None:
        self.on, self.count = on, count
        self.jobs = Jobs(on.api)
        self.values = settings("bench", on.bootstrap, gpus=100_000, timings={"progress_every": 10})
        self.operator = Operator(on.folder, self.values, on.cluster.kubeconfig)
        self.peak = 0.0
        self.figures: dict[str, object] = {"tasks": count}

    def run(self) -> None:
        """All phases."""
        held = Part(holds=frozenset({"*"}))
        parts = {"paced": Part(seconds=1.0), "burst": held, "counted": Part(seconds=1.0)}
        for namespace in parts:
            self.on.namespace(namespace)
        with Player(self.on.api, self.on.bootstrap, lambda namespace, _: parts[namespace]):
            self.operator.start()
            self.operator.wait_ready()
            self._warm()
            self.paced()
            self.burst()
            self.restart()
            self.delete("burst")
            self._note()
            self.operator.stop()
            self.writes()
        self.figures |= {"duplicates": self.jobs.duplicates, "peak_rss_mib": round(self.peak, 1)}

    def paced(self) -> None:
        """Five a second; from each one's apply to the last of its Jobs."""
        _say(f"{self.count} tasks at {PACE:.0f} a second")
        applied: dict[str, float] = {}
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            for number in range(self.count):
                time.sleep(max(0.0, began + number / PACE - time.monotonic()))
                name = f"paced-{number}"
                applied[f"paced/{name}"] = time.monotonic()
                pool.submit(self._apply, "paced", name)
        self._until("the Jobs of all", lambda: all(self.jobs.complete(key) for key in applied))
        took = sorted((self.jobs.complete(key) or 0.0) - at for key, at in applied.items())
        self._until("all Succeeded", lambda: self._states("paced")["Succeeded"] == self.count)
        self.figures |= {
            "apply_to_jobs_p50_s": round(statistics.median(took), 2),
            "apply_to_jobs_p99_s": round(took[min(len(took) - 1, int(len(took) * 0.99))], 2),
            "paced_done_s": round(time.monotonic() - began, 1),
        }
        self._note()
        self.delete("paced")

    def burst(self) -> None:
        """All at once; they stay running."""
        _say(f"{self.count} tasks at once")
        names = [f"burst-{number}" for number in range(self.count)]
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self._apply("burst", name), names))
        keys = [f"burst/{name}" for name in names]
        self._until("the Jobs of all", lambda: all(self.jobs.complete(key) for key in keys))
        last = max(self.jobs.complete(key) or 0.0 for key in keys)
        self.figures["tasks_per_s"] = round(self.count / (last - began), 1)
        self._until("all Running", lambda: self._states("burst")["Running"] == self.count)
        self.figures["burst_running_s"] = round(time.monotonic() - began, 1)
        self._note()

    def restart(self) -> None:
        """Killed over running tasks; from its lease until each task was looked at."""
        _say("the operator is killed, and started again")
        self.operator.kill()
        began = time.monotonic()
        self.operator.start()
        self._until("it leads", lambda: self.operator.leads)
        leads = time.monotonic()
        looks = "controller_runtime_reconcile_total"
        self._until("each was looked at", lambda: self.operator.metric(looks) >= self.count)
        self.figures |= {
            "resync_s": round(time.monotonic() - leads, 2),
            "restart_s": round(time.monotonic() - began, 2),
        }
        time.sleep(5)  # what it would do wrong, it does now
        running = self._states("burst")["Running"]
        if running != self.count:
            raise SystemExit(f"only {running} of {self.count} tasks are Running after the restart")

    def delete(self, namespace: str) -> None:
        """All of them; until PoseTasks, Jobs and topics are gone."""
        _say(f"the tasks of {namespace} are deleted")
        began = time.monotonic()
        names = [one["metadata"]["name"] for one in self.on.api.list(TASKS, "posetasks", namespace)]
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(lambda n: self.on.api.delete(TASKS, "posetasks", namespace, n, "Background"), names)
            )
        self._until("no task is left", lambda: not self.on.api.list(TASKS, "posetasks", namespace))
        self._until("no Job is left", lambda: not self.on.api.list("batch/v1", "jobs", namespace))
        self._until("no pod is left", lambda: not self.on.api.list("v1", "pods", namespace))
        self.figures[f"{namespace}_deleted_s"] = round(time.monotonic() - began, 1)
        left = self._topics()
        if left:
            raise SystemExit(f"topics are left: {sorted(left)[:5]} and {max(0, len(left) - 5)} more")

    def writes(self) -> None:
        """A task's life, from apply to gone, counted by the proxy."""
        _say(f"the writes of {COUNTED} tasks are counted")
        ledger = Ledger()
        with ApiProxy(self.on.cluster.kubeconfig, self.on.folder, ledger) as proxy:
            operator = Operator(self.on.folder, self.values, proxy.kubeconfig, name="counted")
            with operator:
                operator.wait_ready()
                self._until("it leads", lambda: operator.leads)
                time.sleep(3)
                for number in range(COUNTED):
                    self._apply("counted", f"counted-{number}")
                    time.sleep(1 / PACE)
                self._until("all Succeeded", lambda: self._states("counted")["Succeeded"] == COUNTED)
                self._until("all cleaned up", lambda: not self.on.api.list("batch/v1", "jobs", "counted"))
                self.delete("counted")
        lives: Counter[str] = Counter()
        words: dict[str, str] = {}
        progress = 0
        for one in ledger.writes():
            owner = re.search(r"counted-\d+", one.what)
            if owner is None:
                continue
            key = owner[0]
            # A status of the same conditions as the one before it says nothing but figures.
            if " status [" in one.what and words.get(key) == one.what:
                progress += 1
                continue
            if " status [" in one.what:
                words[key] = one.what
            lives[key] += 1
        self.figures |= {
            "writes_per_task": round(statistics.mean(lives.values()), 1),
            "writes_per_task_max": max(lives.values()),
            "progress_writes_per_task": round(progress / COUNTED, 1),
        }

    def _warm(self) -> None:
        self._until("it leads", lambda: self.operator.leads)
        self._apply("paced", "warm")
        self._until("the first Jobs", lambda: self.jobs.complete("paced/warm"))
        self._until("it ends", lambda: self._states("paced")["Succeeded"] == 1)
        self.on.api.delete(TASKS, "posetasks", "paced", "warm", "Background")
        self._until("it is gone", lambda: not self.on.api.list(TASKS, "posetasks", "paced"))

    def _apply(self, namespace: str, name: str) -> None:
        self.on.api.create("posetasks", namespace, task(name, cleanup=CLEANUP))

    def _states(self, namespace: str) -> Counter[str]:
        tasks = self.on.api.list(TASKS, "posetasks", namespace)
        return Counter((one.get("status") or {}).get("state", "") for one in tasks)

    def _topics(self) -> set[str]:
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.on.bootstrap, "log_level": 0})
        names = set(admin.list_topics(timeout=60).topics)
        return {name for name in names if re.search(r"_[a-z]+-\d+-[0-9a-f]{8}$", name)}

    def _until(self, what: str, check: Callable[[], object]) -> None:
        deadline = time.monotonic() + MOST_SECONDS
        while not check():
            if self.operator.exit_code not in {None, 0}:
                raise SystemExit(f"{what}: the operator ended; {self.operator.tail()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"{what}: not within {MOST_SECONDS:.0f} s; {self.operator.tail()}")
            time.sleep(0.05 if "Jobs of all" in what or "look" in what or "leads" in what else 0.5)

    def _note(self) -> None:
        self.peak = max(self.peak, self.operator.peak_rss_mib)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=200, help="of a phase")
    parser.add_argument("--keep", type=Path, help="folder of data and logs; else one that is removed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="posetask-bench-", ignore_cleanup_errors=True) as folder:
        where = arguments.keep or Path(folder)
        nodes = max(2, arguments.tasks * STAGES // 100)
        heap = "512m" if arguments.tasks <= 200 else "1g"
        try:
            with stand(where, nodes=nodes, gpus=8 * arguments.tasks, heap=heap) as on:
                bench = Bench(on, arguments.tasks)
                bench.run()
        except KubeFailed as error:
            print(f"bench-operator: {error}", file=sys.stderr)
            return 1
    f = bench.figures
    table(
        f"The operator, {arguments.tasks} tasks of {STAGES} Jobs and 4 topics",
        [
            ("apply to Jobs, p50", f"{f['apply_to_jobs_p50_s']} s", f"at {PACE:.0f} tasks a second"),
            ("apply to Jobs, p99", f"{f['apply_to_jobs_p99_s']} s", "wanted: 2"),
            ("in a burst", f"{f['tasks_per_s']} tasks/s", "wanted: 10; to the last one's Jobs"),
            ("all of the burst running", f"{f['burst_running_s']} s", "pods made, placed and ready"),
            (
                "writes of a task's life",
                f"{f['writes_per_task']}",
                f"most {f['writes_per_task_max']}, wanted: 25",
            ),
            ("progress besides", f"{f['progress_writes_per_task']}", "writes"),
            ("resync", f"{f['resync_s']} s", f"after the lease; the whole restart {f['restart_s']} s"),
            ("duplicates", f"{f['duplicates']}", "Jobs made twice; wanted: 0"),
            ("peak memory", f"{f['peak_rss_mib']} MiB", "wanted: 300"),
            ("delete all", f"{f['burst_deleted_s']} s", "until Jobs, pods and topics are gone"),
        ],
    )
    write("operator", f)
    return 0


if __name__ == "__main__":
    sys.exit(main())
