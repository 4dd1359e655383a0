"""Plays the stages of tasks under kwok: real progress records on the real topic, and pods that then end.

kwok makes a pod Ready and, at an annotation, ends it; nothing runs in it. What its stage would say on
``posetask_progress`` is said from here, with the models and the writer of the stages themselves.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import httpx

from kubelib.api import Api, Refused, condition
from kubelib.errors import KubeFailed
from posetask.messages.reports import DecodeReport
from posetask.runtime.reports import Failure, StageReport, State
from posetask.transport.kafka.progress import ProgressWriter
from posetask.transport.kafka.settings import KafkaSettings

RUN, STAGE, TASK = "posetask.io/run", "posetask.io/stage", "posetask.io/task"
EXIT_CODE, EXIT_MESSAGE = "fake.posetask.io/exit-code", "fake.posetask.io/exit-message"


@dataclass(frozen=True)
class Part:
    """How the stages of a task play.

    Attributes:
        frames: Of the video.
        seconds: From the beginning to the end of each stage.
        words: Progress records on the way, beside the first and the last.
        gang: Pods that must be ready before any begins; 0 = each begins by itself.
        holds: Stages that work for ever; ``{"*"}`` is all of them.
        failures: By stage, how its first pods end: one :class:`Failure` each. Later ones end well.
    """

    frames: int = 60
    seconds: float = 0.5
    words: int = 2
    gang: int = 5
    holds: frozenset[str] = frozenset()
    failures: Mapping[str, tuple[Failure, ...]] = field(default_factory=dict)


Choose = Callable[[str, str], Part]
"""The part of a task: namespace and name."""


@dataclass(frozen=True)
class _Pod:
    namespace: str
    name: str
    uid: str
    task: str
    run: str
    stage: str
    attempt: str


class Player:
    """Plays until it is closed. Use it as a context.

    Args:
        api: Of the cluster, directly: what it writes is not the operator's.
        bootstrap: Of the brokers.
        choose: The part of each task.
        namespaces: To play in; none: all.
    """

    def __init__(
        self,
        api: Api,
        bootstrap: str,
        choose: Choose = lambda *_: Part(),
        namespaces: frozenset[str] | None = None,
    ) -> None:
        self._api, self._choose, self._namespaces = api, choose, namespaces
        self._writer = ProgressWriter(KafkaSettings(bootstrap=bootstrap))
        self._closed = threading.Event()
        self._due = threading.Condition()
        self._steps: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ready: dict[tuple[str, str], dict[str, _Pod]] = {}
        self._begun: set[str] = set()
        self._played: Counter[tuple[str, str]] = Counter()
        self._patches = ThreadPoolExecutor(8, thread_name_prefix="player")
        self._threads = [
            threading.Thread(target=work, name="player", daemon=True) for work in (self._watch, self._run)
        ]

    def __enter__(self) -> Player:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with self._due:
            self._due.notify()
        self._threads[1].join(30)
        self._patches.shutdown(wait=True, cancel_futures=True)
        self._writer.close()

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                for kind, body in self._api.watch("v1", "pods", seconds=60, labelSelector=RUN):
                    if self._closed.is_set():
                        return
                    if kind in {"ADDED", "MODIFIED"}:
                        self._see(body)
            except (httpx.HTTPError, KubeFailed, ValueError, KeyError):
                self._closed.wait(0.2)
            except RuntimeError:  # the client was closed under us
                return

    def _see(self, body: Mapping[str, Any]) -> None:
        meta = body["metadata"]
        labels = meta.get("labels", {})
        if self._namespaces is not None and meta["namespace"] not in self._namespaces:
            return
        done = EXIT_CODE in meta.get("annotations", {}) or "deletionTimestamp" in meta
        if meta["uid"] in self._begun or done or condition(body, "Ready") != "True":
            return
        pod = _Pod(
            meta["namespace"],
            meta["name"],
            meta["uid"],
            labels.get(TASK, ""),
            labels[RUN],
            labels.get(STAGE, ""),
            labels.get("posetask.io/attempt", ""),
        )
        part = self._choose(pod.namespace, pod.task)
        waiting = self._ready.setdefault((pod.run, pod.attempt), {})
        waiting[pod.uid] = pod
        if len(waiting) >= part.gang:
            for one in waiting.values():
                if one.uid not in self._begun:
                    self._begun.add(one.uid)
                    self._begin(one, part)

    def _begin(self, pod: _Pod, part: Part) -> None:
        nth = self._played[pod.run, pod.stage]
        self._played[pod.run, pod.stage] += 1
        fails = part.failures.get(pod.stage, ())
        failure = fails[nth] if nth < len(fails) else None
        self._at(0, lambda: self._say(pod, part, "running", 0))
        for word in range(1, part.words + 1):
            share = word / (part.words + 1)
            said = partial(self._say, pod, part, "running", int(share * part.frames))
            self._at(share * part.seconds, said)
        if failure is not None:
            self._at(part.seconds, lambda: self._fail(pod, part, failure))
        elif part.holds.isdisjoint({pod.stage, "*"}):
            self._at(part.seconds, lambda: self._finish(pod, part))

    def _finish(self, pod: _Pod, part: Part) -> None:
        self._say(pod, part, "done", part.frames)
        self._end(pod, 0, "")

    def _fail(self, pod: _Pod, part: Part, failure: Failure) -> None:
        self._say(pod, part, "failed", part.frames // 2, failure)
        self._end(pod, failure.exit_code, failure.model_dump_json())

    def _say(self, pod: _Pod, part: Part, state: State, frames: int, failure: Failure | None = None) -> None:
        facts: dict[str, Any] = {}
        if pod.stage == "producer":
            facts = {"decode": asdict(DecodeReport(frames_decoded=frames, frames_declared=part.frames))}
        elif pod.stage == "annotator":
            facts = {"frames": frames, "people": 2 * frames, "tracks": 2}
        report = StageReport(
            run=pod.run,
            stage=pod.stage,
            instance=pod.uid[:12],
            state=state,
            frames=frames,
            facts=facts,
            error=failure,
        )
        self._writer.write(pod.run, pod.stage, report.model_dump_json().encode())

    def _end(self, pod: _Pod, code: int, message: str) -> None:
        patch = {"metadata": {"annotations": {EXIT_CODE: str(code), EXIT_MESSAGE: message}}}

        def put() -> None:
            while not self._closed.is_set():
                try:
                    self._api.patch("v1", "pods", pod.namespace, pod.name, patch)
                except Refused:  # the pod is gone: nothing is left to end
                    return
                except httpx.HTTPError:
                    self._closed.wait(0.5)
                else:
                    return

        if not self._closed.is_set():
            self._patches.submit(put)

    def _at(self, seconds: float, step: Callable[[], None]) -> None:
        with self._due:
            heapq.heappush(self._steps, (time.monotonic() + seconds, next(self._order), step))
            self._due.notify()

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._due:
                wait = self._steps[0][0] - time.monotonic() if self._steps else 1.0
                if wait > 0:
                    self._due.wait(min(wait, 1.0))
                    continue
                _, _, step = heapq.heappop(self._steps)
            step()
