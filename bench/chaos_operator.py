"""The operator killed before and after every write of a task's life; the end must be that of a life in peace.

First every life runs in peace, and its writes, to the API server and to the broker, are counted and named by
proxies. From these come the plans (``--list`` prints them): each is one life with one fault. A plan's name
replays it: ``python bench/chaos_operator.py --plan 'success/kill-before/create jobs demo-*-yolox-1 #1'``.
"""

from __future__ import annotations

import argparse
import queue
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from _report import table, write

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]

from kubelib.errors import KubeFailed  # noqa: E402
from operatorkit.crash import KILLS, Peace, Verdict, carry_out, in_peace, kill_leader, plans, stop_leader  # noqa: E402
from operatorkit.kafkaproxy import KafkaProxy  # noqa: E402
from operatorkit.lane import LIVES, Lane, Stuck  # noqa: E402
from operatorkit.stand import Stand, stand  # noqa: E402
from operatorkit.writes import Ledger  # noqa: E402

SAMPLE = (
    r"success/kill-(before|after)/(create jobs .*-rtmpose|kafka create-topics|patch posetasks)",
    r"success/kill-after/(kafka produce posetask_runs #1|kafka delete-topics|delete jobs .*-annotator)",
    r"success/lose/(create jobs .*-producer|kafka create-topics)",
    r"success/(409|410|429|500)/update posetasks demo status \[Admitted DataIntact\] #1",
    r"success/(watch-frozen|stale-list|broker-away-at-create)",
    r"deleted/kill-(before|after)/patch posetasks demo finalizers=0",
)
"""What CI can afford."""

KINDS = (
    "patch posetasks",
    "update posetasks",
    "create events",
    "create jobs",
    "delete jobs",
    "kafka produce",
    "kafka create-topics",
    "kafka delete-topics",
)
FAILOVER_SECONDS = 20.0


def work(lane: Lane, todo: queue.SimpleQueue[str], peace: dict[str, Peace], done: list[Verdict]) -> None:
    """Plans of the queue, one after the other."""
    while True:
        try:
            plan = todo.get_nowait()
        except queue.Empty:
            return
        verdict = carry_out(lane, plan, peace)
        done.append(verdict)
        tell(verdict)


def tell(verdict: Verdict) -> None:
    """One line, and what went wrong."""
    word = "FAILED" if verdict.failed else "well" if verdict.hit else "not reached"
    print(f"{word:<12}{verdict.seconds:6.1f} s  {verdict.plan}", file=sys.stderr, flush=True)
    for problem in verdict.problems:
        print(f"    {problem}", file=sys.stderr, flush=True)


def stops(on: Stand, kafkas: list[KafkaProxy], kinds: Sequence[str], done: list[Verdict]) -> None:
    """Two replicas: the leader stopped before each kind of write."""
    with Lane(on, "pair", kafkas) as lane:
        peace = {"success": in_peace(lane, "success")}
        for kind in kinds:
            done.append(stop_leader(lane, kind, peace))
            tell(done[-1])


def failovers(on: Stand, kafkas: list[KafkaProxy], done: list[Verdict]) -> float:
    """Two replicas, the leader killed, the lease as it is by default; seconds until the other leads."""
    with Lane(on, "failover", kafkas, lease=()) as lane:
        verdict, seconds = kill_leader(lane)
        if seconds > FAILOVER_SECONDS:
            verdict.problems.append(f"the failover took {seconds:.1f} s")
        done.append(verdict)
        tell(verdict)
        return seconds


def run(arguments: argparse.Namespace, folder: Path) -> tuple[list[Verdict], float | None, dict[str, Peace]]:
    """All that was asked for."""
    single = [f"LANE{number}" for number in range(arguments.lanes)]
    names = [*single, "PAIR0", "PAIR1", "SLOW0", "SLOW1"]
    done: list[Verdict] = []
    failover = None
    with ExitStack() as stack:
        kafkas = {name: stack.enter_context(KafkaProxy(Ledger(), name)) for name in names}
        on = stack.enter_context(stand(folder, nodes=2, gpus=64, proxies=list(kafkas.values())))
        pair, slow = [kafkas["PAIR0"], kafkas["PAIR1"]], [kafkas["SLOW0"], kafkas["SLOW1"]]
        _, what, kind = [*(arguments.plan or "").split("/", 2), "", ""][:3]
        if what == "stop-leader":
            stops(on, pair, [kind], done)
            return done, failover, {}
        if what == "kill-leader":
            return done, failovers(on, slow, done), {}
        lanes = [stack.enter_context(Lane(on, name.lower(), [kafkas[name]])) for name in single]
        wanted = list(LIVES) if arguments.plan is None else [arguments.plan.split("/")[0]]
        peace = {life: in_peace(lanes[0], life) for life in wanted if life in LIVES}
        chosen = choose(arguments, plans(peace))
        if arguments.list:
            print("\n".join(chosen))
            return done, failover, peace
        todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        for plan in chosen:
            todo.put(plan)
        threads = [
            threading.Thread(target=work, args=(lane, todo, peace, done), daemon=True) for lane in lanes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if arguments.replicas:
            stops(on, pair, KINDS, done)
            failover = failovers(on, slow, done)
    return done, failover, peace


def choose(arguments: argparse.Namespace, known: Sequence[str]) -> list[str]:
    """The plans that were asked for."""
    if arguments.plan is not None:
        return [arguments.plan]
    if arguments.sample:
        return [plan for plan in known if any(re.match(one, plan) for one in SAMPLE)]
    if arguments.kills:
        return [plan for plan in known if plan.split("/")[1] in KILLS]
    return list(known)


def main() -> int:
    """Run, print, write; 1 where a plan failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lanes", type=int, default=2, help="operators at the same time")
    parser.add_argument("--sample", action="store_true", help="the fixed sample of CI")
    parser.add_argument("--kills", action="store_true", help="only the kills")
    parser.add_argument("--plan", help="one plan, by its name")
    parser.add_argument("--list", action="store_true", help="print the plans, and end")
    parser.add_argument("--replicas", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--keep", type=Path, help="folder of data and logs; else one that is removed")
    arguments = parser.parse_args()
    arguments.replicas = arguments.replicas and arguments.plan is None
    with tempfile.TemporaryDirectory(prefix="posetask-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            done, failover, peace = run(arguments, arguments.keep or Path(folder))
        except (KubeFailed, Stuck) as error:
            print(f"chaos-operator: {error}", file=sys.stderr)
            return 1
    if arguments.list:
        return 0
    failed = [one.plan for one in done if one.failed]
    missed = [one.plan for one in done if not one.hit and not one.failed]
    kinds = Counter(one.plan.split("/")[1] for one in done)
    table(
        "The operator under crash plans",
        [
            *((life, f"{len(known.writes)}", "writes in peace") for life, known in peace.items()),
            *((kind, f"{count}", "plans") for kind, count in sorted(kinds.items())),
            ("starts", f"{sum(one.starts for one in done)}", "of the operator"),
            ("not reached", f"{len(missed)}", "the write did not come in that life"),
            ("failed", f"{len(failed)}", "ended otherwise than in peace"),
            *([("failover", f"{failover:.1f} s", "wanted: 20")] if failover is not None else []),
        ],
    )
    figures: dict[str, object] = {"plans": len(done), "failed": len(failed), "not_reached": len(missed)}
    figures |= {"failed_plans": failed, "missed_plans": missed, "failover_s": failover}
    write("chaos-operator", figures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
