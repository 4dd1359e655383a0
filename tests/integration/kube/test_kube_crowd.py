"""More tasks than GPUs, on kwok: the budget is never passed, pods that are still terminating included."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

BUDGET, TASKS = 4, 14
API = "posetask.io/v1alpha1"


class Holders:
    """GPUs of the pods that live, after every event of one watch: what it tells was true at some moment."""

    def __init__(self, api: Any, installation: str) -> None:
        self.most = 0
        self.over: list[dict[str, int]] = []
        self._api, self._selector = api, f"posetask.io/installation={installation}"
        self._held: dict[str, int] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(30)

    def _follow(self) -> None:
        while not self._closed.is_set():
            self._held.clear()  # a watch begins with all that there is
            for kind, pod in self._api.watch("v1", "pods", seconds=5, labelSelector=self._selector):
                name = pod["metadata"]["name"]
                if kind == "DELETED" or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                    self._held.pop(name, None)
                    continue
                limits = pod["spec"]["containers"][0]["resources"].get("limits", {})
                if gpus := int(limits.get("nvidia.com/gpu", 0)):
                    self._held[name] = gpus
                held = sum(self._held.values())
                self.most = max(self.most, held)
                if held > BUDGET:
                    self.over.append(dict(self._held))


def stages(random_: random.Random) -> list[dict[str, Any]]:
    """A gang of one to four GPUs."""
    yolox = random_.randint(1, 2)
    return [
        {"name": "yolox", "accelerator": {"count": yolox}},
        {"name": "rtmpose", "accelerator": {"count": random_.randint(0, BUDGET - 2)}},
    ]


def test_a_crowd_shares_the_gpus_and_nobody_is_left_behind(
    fake_nodes: Callable[..., list[str]],
    crd: Any,
    api: Any,
    broker: Any,
    make_namespace: Callable[..., str],
    tmp_path: Path,
    cluster: Any,
) -> None:
    from kubelib.api import wait
    from operatorkit.player import Part, Player
    from operatorkit.process import Operator, settings
    from operatorkit.stand import task
    from posetask.runtime.reports import Failure

    assert crd["metadata"]["name"] == "posetasks.posetask.io"
    fake_nodes(2, gpus=4)
    spaces = [make_namespace() for _ in range(3)]
    system = make_namespace()
    random_ = random.Random(20)
    lost = Failure(reason="TopicLost", message="it is gone", exit_code=26)
    names = [f"crowd-{number}" for number in range(TASKS)]
    bad = set(random_.sample(names, 3))

    def part(_: str, name: str) -> Part:
        return Part(seconds=0.5, failures={"rtmpose": (lost,)} if name in bad else {})

    values = settings("crowd", broker.bootstrap, namespace=system, gpus=BUDGET)
    options = ["--namespaces", ",".join(spaces)]
    where: dict[str, str] = {}

    def state(name: str) -> str:
        found = api.get(API, "posetasks", where[name], name)
        return str((found.get("status") or {}).get("state", ""))

    def ended(wanted: list[str]) -> bool:
        operator.start()  # one that lost its lease on a busy machine has ended
        return all(state(name) in {"Succeeded", "Failed"} for name in wanted)

    def suspend(name: str, on: bool) -> None:
        api.patch(API, "posetasks", where[name], name, {"spec": {"suspend": on}})

    with (
        Operator(tmp_path, values, cluster.kubeconfig, options=options) as operator,
        Player(api, broker.bootstrap, part, frozenset(spaces)),
    ):
        holders = Holders(api, "crowd")
        for name in names:
            where[name] = random_.choice(spaces)
            spec: dict[str, Any] = {"stages": stages(random_), "retries": 0}
            spec["scheduling"] = {"priority": random_.choice([0, 0, 10])}
            api.create("posetasks", where[name], task(name, **spec))
            time.sleep(random_.uniform(0, 0.3))
        paused = random_.sample(names, 2)
        for name in paused:
            suspend(name, True)
        others = [name for name in names if name not in paused]
        try:
            wait("all that are not suspended end", lambda: ended(others), seconds=400, every=1.0)
            for name in paused:
                suspend(name, False)
            wait("the suspended ones end", lambda: ended(paused), seconds=120, every=1.0)
        except Exception as error:
            pytest.fail(f"{error}; { ({name: state(name) for name in names}) }; {operator.tail()}")
        finally:
            holders.close()
    ends = {name: state(name) for name in names}
    assert ends == {name: "Failed" if name in bad else "Succeeded" for name in names}
    assert holders.over == []
    assert holders.most >= BUDGET - 1, "the GPUs were never all in use: the test shows nothing"
