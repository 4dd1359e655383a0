"""Crash plans: what happens to which write of a life, and whether the life ends as it does in peace.

A plan's name says all of it: ``LIFE/FAULT/WRITE``, for example
``success/kill-before/create jobs demo-*-yolox-1 #1``, or ``LIFE/SURROUNDINGS`` for faults of no single write.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from operatorkit.lane import LIVES, Lane, Stuck
from operatorkit.world import World, difference
from operatorkit.writes import Choose, Fault, Write

KILLS = ("kill-before", "kill-after")
ANSWERS = ("409", "410", "429", "500")
FAULTS = (*KILLS, "lose", *ANSWERS)
SURROUNDINGS = (
    "watch-frozen",
    "stale-list",
    "lists-gone-410",
    "broker-away-at-create",
    "broker-away-at-delete",
)
AWAY_SECONDS = 6.0
LEASE_LOST = 3
"""Exit code of an operator that another one took the lease from."""


@dataclass(frozen=True)
class Peace:
    """What a life comes to, and writes, when nothing happens to it."""

    cleaned: World
    gone: World
    writes: tuple[str, ...]


@dataclass
class Verdict:
    """What a plan came to.

    Attributes:
        hit: Its fault came to pass.
        problems: What was not as in peace; empty is well.
    """

    plan: str
    hit: bool = False
    problems: list[str] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Anything was not as it should be."""
        return bool(self.problems)


def in_peace(lane: Lane, life: str) -> Peace:
    """The reference.

    Raises:
        Stuck: Even in peace it does not come to its end.
    """
    for replica in lane.replicas:
        replica.ledger.choose = None
    lane.start()
    time.sleep(3)  # what belongs to its start, and to no task, is written now
    cleaned, gone = lane.live(LIVES[life])
    twice = lane.children.twice()
    if twice:
        raise Stuck(f"{life}: made twice in peace: {twice}")
    writes = [write.name for replica in lane.replicas for write in replica.ledger.writes()]
    return Peace(cleaned, gone, tuple(writes))


def plans(peace: Mapping[str, Peace]) -> list[str]:
    """All plans there are, in the order of the writes."""
    out = []
    for life, known in peace.items():
        for write in known.writes:
            faults = (*KILLS, "lose") if write.startswith("kafka") else FAULTS
            out += [f"{life}/{fault}/{write}" for fault in faults]
        out += [f"{life}/{name}" for name in SURROUNDINGS]
    return out


def carry_out(lane: Lane, plan: str, peace: Mapping[str, Peace]) -> Verdict:
    """One plan, on a lane whose operator may or may not run."""
    life, what, *rest = plan.split("/", 2)
    verdict = Verdict(plan)
    began = time.monotonic()
    hit = threading.Event()
    starts = sum(replica.operator.starts for replica in lane.replicas)
    try:
        lane.start()
        with _fault(lane, what, rest[0] if rest else "", hit):
            cleaned, gone = lane.live(LIVES[life])
        known = peace[life]
        verdict.problems += [f"cleaned up: {one}" for one in difference(known.cleaned, cleaned)]
        verdict.problems += [f"gone: {one}" for one in difference(known.gone, gone)]
    except Stuck as error:
        verdict.problems.append(str(error))
        lane.clear()
    finally:
        for replica in lane.replicas:
            replica.ledger.choose = None
    verdict.problems += [f"made twice: {one}" for one in lane.children.twice()]
    verdict.hit = hit.is_set()
    verdict.starts = sum(replica.operator.starts for replica in lane.replicas) - starts
    verdict.seconds = time.monotonic() - began
    return verdict


@contextmanager
def _fault(lane: Lane, what: str, write: str, hit: threading.Event) -> Iterator[None]:
    first = lane.replicas[0]
    if what in FAULTS:
        first.ledger.choose = _once(write, _write_fault(lane, what), hit)
        yield
    elif what in SURROUNDINGS:
        stop = threading.Event()
        thread = threading.Thread(target=_SURROUND[what], args=(lane, hit, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
    else:
        raise ValueError(f"no fault {what!r}; there are {', '.join((*FAULTS, *SURROUNDINGS))}")


def _write_fault(lane: Lane, what: str) -> Fault:
    kill = lane.replicas[0].operator.kill
    if what == "kill-before":
        return Fault(before=kill, answer=503)
    if what == "kill-after":
        return Fault(after=kill, lose=True)
    return Fault(lose=True) if what == "lose" else Fault(answer=int(what))


def _once(name: str, fault: Fault, hit: threading.Event) -> Choose:
    def choose(write: Write) -> Fault | None:
        if write.name != name or hit.is_set():
            return None
        hit.set()
        return fault

    return choose


def _frozen(lane: Lane, hit: threading.Event, stop: threading.Event) -> None:
    """Watches bring nothing from the task's first status on; the list of the operator must tell it."""
    proxy = lane.replicas[0].api
    _wait(stop, lambda: bool(lane.state()))
    for plural in ("jobs", "pods", "posetasks"):
        proxy.freeze(plural)
    hit.set()
    stop.wait(20)
    for plural in ("jobs", "pods", "posetasks"):
        proxy.thaw(plural)


def _stale(lane: Lane, hit: threading.Event, stop: threading.Event) -> None:
    """After a kill, Jobs and pods are listed as they were before the task was."""
    replica = lane.replicas[0]
    for plural in ("jobs", "pods"):
        replica.api.stale(plural)
    if _wait(stop, lambda: lane.state() in {"Starting", "Running"}):
        replica.operator.kill()
        hit.set()
        stop.wait(8)
    for plural in ("jobs", "pods"):
        replica.api.stale(plural, False)


def _expired(lane: Lane, hit: threading.Event, stop: threading.Event) -> None:
    """Lists and watches answer 410 for a while."""
    proxy = lane.replicas[0].api
    _wait(stop, lambda: bool(lane.state()))
    for plural in ("jobs", "pods", "posetasks"):
        proxy.refuse(plural, 410)
    hit.set()
    stop.wait(4)
    for plural in ("jobs", "pods", "posetasks"):
        proxy.refuse(plural, None)


def _away_at_create(lane: Lane, hit: threading.Event, stop: threading.Event) -> None:
    kafka = lane.replicas[0].kafka
    kafka.go_away()
    hit.set()
    stop.wait(AWAY_SECONDS)
    kafka.go_away(False)


def _away_at_delete(lane: Lane, hit: threading.Event, stop: threading.Event) -> None:
    kafka = lane.replicas[0].kafka
    if _wait(stop, lambda: lane.state() == "Running"):
        kafka.go_away()
        hit.set()
        stop.wait(AWAY_SECONDS)
        kafka.go_away(False)


_SURROUND: dict[str, Callable[[Lane, threading.Event, threading.Event], None]] = {
    "watch-frozen": _frozen,
    "stale-list": _stale,
    "lists-gone-410": _expired,
    "broker-away-at-create": _away_at_create,
    "broker-away-at-delete": _away_at_delete,
}


def _wait(stop: threading.Event, check: Callable[[], bool]) -> bool:
    while not stop.is_set():
        if check():
            return True
        stop.wait(0.05)
    return False


def stop_leader(lane: Lane, kind: str, peace: Mapping[str, Peace]) -> Verdict:
    """The leader is stopped before its first write of a kind until another leads, and then goes on.

    Args:
        lane: Of two replicas.
        kind: How the write's name begins, such as ``create jobs``.
        peace: The references.
    """
    plan = f"success/stop-leader/{kind}"
    verdict = Verdict(plan)
    began = time.monotonic()
    late: list[str] = []
    try:
        lane.start()
        leader = next(one for one in lane.replicas if one.operator.leads)
        other = next(one for one in lane.replicas if one is not leader)
        hit = threading.Event()

        def stop() -> None:
            lane.keep_running = False  # the one that lost its lease is to be seen ending
            leader.operator.signal(signal.SIGSTOP)
            deadline = time.monotonic() + 60
            while not other.operator.leads and time.monotonic() < deadline:
                time.sleep(0.05)
            if leader.ledger.open > 1:
                verdict.problems.append(f"{leader.ledger.open} requests were in flight")
            threading.Timer(1.0, leader.operator.signal, (signal.SIGCONT,)).start()

        def choose(write: Write) -> Fault | None:
            if hit.is_set():
                late.append(write.name)
                return None
            if write.background or not write.name.startswith(kind):
                return None
            hit.set()
            return Fault(before=stop)

        leader.ledger.choose = choose
        cleaned, gone = lane.live(LIVES["success"])
        known = peace["success"]
        verdict.problems += [f"cleaned up: {one}" for one in difference(known.cleaned, cleaned)]
        verdict.problems += [f"gone: {one}" for one in difference(known.gone, gone)]
        verdict.hit = hit.is_set()
        if verdict.hit:
            if late:
                verdict.problems.append(f"the one that was stopped went on to write: {late}")
            deadline = time.monotonic() + 30
            while leader.operator.pid is not None and time.monotonic() < deadline:
                time.sleep(0.1)
            if leader.operator.exit_code != 3:
                verdict.problems.append(
                    f"the one that was stopped ended with {leader.operator.exit_code}, not 3"
                )
    except Stuck as error:
        verdict.problems.append(str(error))
        lane.clear()
    finally:
        lane.keep_running = True
        for replica in lane.replicas:
            replica.ledger.choose = None
            replica.operator.signal(signal.SIGCONT)
    verdict.problems += [f"made twice: {one}" for one in lane.children.twice()]
    verdict.seconds = time.monotonic() - began
    return verdict


def kill_leader(lane: Lane) -> tuple[Verdict, float]:
    """The leader is killed; seconds until the other leads."""
    verdict = Verdict("replicas/kill-leader", hit=True)
    lane.start()
    leader = next(one for one in lane.replicas if one.operator.leads)
    other = next(one for one in lane.replicas if one is not leader)
    other.operator.wait_ready()
    lane.keep_running = False
    began = time.monotonic()
    leader.operator.kill()
    try:
        lane.until("the other leads", lambda: other.operator.leads, 60)
    except Stuck as error:
        verdict.problems.append(str(error))
    finally:
        lane.keep_running = True
    verdict.seconds = time.monotonic() - began
    return verdict, verdict.seconds
