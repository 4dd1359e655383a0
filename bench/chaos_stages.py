"""Stages and the broker killed over and over; what comes out must be what a run in peace gives.

A synthetic clip with its frame numbers in the pixels is run once in peace, and then once for each kill plan
(see ``_chaos_plan.py``), until enough SIGKILLs have hit. Kills at chosen moments are carried out by the
processes themselves (``_chaos_process.py``), the others from here. A kill counts where the process died of
it, and where its stream was not over: a process says so in a file when it is. Kills of what publishes come
later by their nature, and count where the process died of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _chaos_broker import Broker
from _chaos_plan import BROKER, STAGES, Chance, Plan, read_shots, write_arms
from _chaos_verify import Difference, compare
from _report import CACHE, table, write

from posetask.errors import PoseTaskError
from posetask.media.inputs import resolve
from posetask.runtime.distributed import DistributedRun
from posetask.runtime.options import RunOptions
from posetask.synth.clip import write_clip
from posetask.synth.spec import WorldSpec
from posetask.transport.kafka.settings import KafkaSettings

ENTRY = Path(__file__).with_name("_chaos_process.py")
LOOK_SECONDS = 0.05
MOST_SECONDS = 600.0
"""For one run; one that takes longer hangs."""


@dataclass
class Findings:
    """What one plan came to.

    Attributes:
        hits: Kills that count, by victim and moment.
        late: Kills that came when the stream was over; not counted.
        missed: Kills of the plan that never came.
        restarts: Starts of processes that no kill explains.
    """

    plan: str
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    late: int = 0
    missed: int = 0
    restarts: int = 0
    quarantined: int = 0
    difference: Difference = field(default_factory=Difference)
    error: str = ""
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Nothing shows."""
        return not (self.difference or self.quarantined or self.error)


class ChaosRun:
    """One run under one plan.

    Args:
        plan: What dies.
        folder: For the plan, what its processes say of it, and their logs.
        run: Not started.
        broker: Which the plan may kill.
    """

    def __init__(self, plan: Plan, folder: Path, run: DistributedRun, broker: Broker) -> None:
        self.plan, self.folder, self.run, self.broker = plan, folder, run, broker
        self.findings = Findings(plan.name)
        self._kills: Counter[str] = Counter()

    def execute(self) -> Findings:
        """Run to the end, killing."""
        begin, found = time.monotonic(), self.findings
        write_arms(self.folder, self.plan)
        nurse = threading.Thread(target=self._nurse)
        self._over = threading.Event()
        self._note_broker()
        nurse.start()
        try:
            self.run.start()
            for number, chance in enumerate(self.plan.chances):
                if not self._wait_and_kill(chance):
                    found.missed += len(self.plan.chances) - number
                    break
            while self.run.wait(1.0) is None:
                if time.monotonic() - begin > MOST_SECONDS:
                    self.run.cancel()
        except PoseTaskError as error:
            found.error = f"{error.reason}: {error.message}"
        finally:
            self._over.set()
            nurse.join()
        self._count_shots()
        found.quarantined = self.run.quarantined
        died = sum(n for victim, n in self._kills.items() if victim != BROKER)
        found.restarts = sum(child.starts for child in self.run.children.values()) - len(STAGES) - died
        found.seconds = round(time.monotonic() - begin, 1)
        return found

    def _wait_and_kill(self, chance: Chance) -> bool:
        """False where the run is over first."""
        victim, begin, since = chance.victim, time.monotonic(), None
        while time.monotonic() - begin < MOST_SECONDS:
            if self.run.wait(LOOK_SECONDS) is not None:
                return False
            if since is None and self._is_due(chance):
                since = time.monotonic()
            if since is None or time.monotonic() - since < (0.3 if chance.starting else chance.seconds):
                continue
            if victim == BROKER:
                over, hit = self._ended("annotator"), self.broker.kill()
                pid = 0
            else:
                child = self.run.children[victim]
                pid = child.pid or 0
                hit = child.kill()
                over = self._ended(victim, pid)
            if hit:
                self._count(victim, "starting" if chance.starting else "any moment", over)
                return True
            since = None
        return False

    def _is_due(self, chance: Chance) -> bool:
        """The victim is at work, or has just been started where it is to die while it starts."""
        if chance.victim == BROKER:
            return self.broker.alive and any(self.folder.glob("annotator.*.up"))
        child = self.run.children[chance.victim]
        pid = child.pid
        at_work = (self.folder / f"{chance.victim}.{pid}.up").exists()
        return pid is not None and (at_work != chance.starting)

    def _ended(self, stage: str, pid: int | str = "*") -> bool:
        return any(self.folder.glob(f"{stage}.{pid}.end"))

    def _count(self, victim: str, moment: str, over: bool) -> None:
        self._kills[victim] += 1
        if over:
            self.findings.late += 1
        else:
            self.findings.hits[victim, moment] += 1

    def _count_shots(self) -> None:
        for stage in STAGES:
            shots = list(read_shots(self.folder, stage))
            for shot in shots:
                if shot.kill.victim != BROKER and Path(f"/proc/{shot.pid}").exists():
                    sys.exit(f"{stage} survived its own SIGKILL")
                self._count(
                    shot.kill.victim,
                    shot.kill.moment if shot.kill.victim != BROKER else f"{stage} {shot.kill.moment}",
                    shot.ended and not shot.kill.publishes,
                )
            self.findings.missed += len(self.plan.arms(stage)) - len(shots)

    def _note_broker(self) -> None:
        (self.folder / "broker").write_text(str(self.broker.pid))

    def _nurse(self) -> None:
        """Start the broker anew whenever it was killed."""
        while not self._over.wait(LOOK_SECONDS) or not self.broker.alive:
            if not self.broker.alive:
                self.broker.start()
                self._note_broker()


def main() -> None:
    args = parse_arguments()
    models = {"detector": args.detector, "pose": args.pose} if args.detector else {"models": "demo"}
    if args.plan:
        plans = [Plan.named(args.plan)]
        args.kills, args.seed = plans[0].size, int(args.plan.split("-")[0])
    begin, all_found = time.monotonic(), list[Findings]()
    with tempfile.TemporaryDirectory(prefix="posetask-chaos-") as scratch:
        folder = Path(args.keep or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        broker = Broker(Path(scratch) / "kafka")
        broker.start()
        try:
            clip = numbered_clip(args.frames, args.seed)
            settings, options = (
                KafkaSettings(bootstrap=broker.bootstrap),
                RunOptions.parse({**models, "formats": ("jsonl",), "force": True}),
            )
            peaceful = folder / "peace.mp4"
            run = DistributedRun(resolve(clip)[0], peaceful, options, settings)
            run.start()
            run.wait()
            while sum(found.hits.total() for found in all_found) < args.kills:
                number = len(all_found)
                if args.plan and number:
                    break
                plan = plans[0] if args.plan else Plan.named(f"{args.seed}-{number}")
                place = folder / f"plan-{plan.name}"
                command = (sys.executable, str(ENTRY), str(place))
                killed = folder / f"{plan.name}.mp4"
                run = DistributedRun(resolve(clip)[0], killed, options, settings, command=command)
                found = ChaosRun(plan, place, run, broker).execute()
                if not found.error:
                    found.difference = compare(peaceful, killed)
                all_found.append(found)
                say(found)
        finally:
            broker.stop()
    report(all_found, args, time.monotonic() - begin)
    sys.exit(0 if all(found.clean for found in all_found) else 1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="that count, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", metavar="NAME", help="one plan alone, by the name that a run said")
    parser.add_argument("--frames", type=int, default=400, help="of the clip")
    parser.add_argument("--keep", metavar="FOLDER", help="for results, and the logs of all processes")
    parser.add_argument("--detector", help="path of an .onnx; the bundled demo models without")
    parser.add_argument("--pose", help="likewise")
    return parser.parse_args()


def numbered_clip(frames: int, seed: int) -> Path:
    """Two people and a number in every frame."""
    path = CACHE / f"numbered_{frames}_{seed}.mp4"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = WorldSpec(seed=seed, people=2, frames=frames, width=320, height=180, number_code=True)
        write_clip(spec, path, truth=False)
    return path


def say(found: Findings) -> None:
    d = found.difference
    print(
        f"  plan {found.plan}: {found.hits.total()} kills in {found.seconds} s, lost {d.lost}, doubled"
        f" {d.doubled}, id mismatches {d.id_mismatches}, given up {found.quarantined}, late {found.late},"
        f" missed {found.missed}, other starts {found.restarts}{', ' * bool(found.error)}{found.error}",
        flush=True,
    )
    if not found.clean:
        print(f'    again: make chaos-stages ARGS="--plan {found.plan} --keep FOLDER"', flush=True)


def report(all_found: Sequence[Findings], args: argparse.Namespace, seconds: float) -> None:
    hits: Counter[tuple[str, str]] = Counter()
    difference = Difference()
    for found in all_found:
        hits += found.hits
        difference += found.difference
    by_victim = {v: sum(n for (who, _), n in hits.items() if who == v) for v in (*STAGES, BROKER)}
    figures: dict[str, object] = {
        "kills": hits.total(),
        "lost": difference.lost,
        "doubled": difference.doubled,
        "id_mismatches": difference.id_mismatches,
        "quarantined": sum(found.quarantined for found in all_found),
        "failed_runs": [f"{found.plan}: {found.error}" for found in all_found if found.error],
        "late": sum(found.late for found in all_found),
        "missed": sum(found.missed for found in all_found),
        "other_starts": sum(found.restarts for found in all_found),
        "runs": len(all_found),
        "plans": [found.plan for found in all_found],
        "kills_by_victim": by_victim,
        "kills_by_moment": {f"{who}: {moment}": n for (who, moment), n in sorted(hits.items())},
        "seed": args.seed,
        "frames": args.frames,
        "seconds": round(seconds, 1),
    }
    remarks = {
        "kills": ", ".join(f"{who} {n}" for who, n in by_victim.items()),
        "runs": f"of {args.frames} frames, seed {args.seed}",
        "quarantined": "frames given up, although none of them kills",
        "late": "kills after the end of the stream; not counted",
        "missed": "kills of the plans for which the run was too short; not counted",
        "other_starts": "of processes that left because the broker was away",
        "seconds": "the run in peace included",
    }
    rows = [
        (name, str(value), remarks.get(name, ""))
        for name, value in figures.items()
        if isinstance(value, int | float)
    ]
    table("killed over Kafka", rows)
    write("chaos-stages", figures)


if __name__ == "__main__":
    main()
