"""Stages killed at random moments, over a real broker; what comes out must be what an unkilled run gives.

A synthetic clip with its frame numbers in the pixels is run once in peace, and then again and again with
SIGKILLs at seeded moments until enough have hit a process at work. The verifier trusts no counter of ours:
it reads the numbers from the pictures of the MP4, and compares every line of the data.

    lost            frame numbers that the peaceful video shows and the other does not
    doubled         frame numbers that it shows twice
    id_mismatches   frames whose people (ids, boxes, keypoints) are not the same
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
from _report import CACHE, table, write

from posetask.media.inputs import resolve
from posetask.runtime.distributed import NAMES, DistributedRun
from posetask.runtime.options import RunOptions
from posetask.synth.clip import write_clip
from posetask.synth.framecode import read_frame_number
from posetask.synth.spec import WorldSpec
from posetask.transport.kafka.settings import KafkaSettings

KAFKA = Path(__file__).parents[1] / "scripts" / "kafka"


@dataclass
class Findings:
    """What all killed runs together came to."""

    runs: int = 0
    missed: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    id_mismatches: int = 0
    quarantined: int = 0

    @property
    def clean(self) -> bool:
        """Nothing shows."""
        return not (self.lost or self.doubled or self.id_mismatches or self.quarantined)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=1000, help="of the clip")
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two kills")
    parser.add_argument("--detector", help="path of an .onnx; the bundled demo models without")
    parser.add_argument("--pose", help="likewise")
    args = parser.parse_args()
    models = {"detector": args.detector, "pose": args.pose} if args.detector else {"models": "demo"}
    clip = numbered_clip(args.frames, args.seed)
    chance, findings, begin = random.Random(args.seed), Findings(), time.monotonic()
    with broker() as settings, tempfile.TemporaryDirectory(prefix="posetask-chaos-") as folder:
        peaceful = Path(folder) / "peace.mp4"
        run(clip, peaceful, models, settings).wait()
        while findings.hits.total() < args.kills:
            killed = Path(folder) / f"killed{findings.runs}.mp4"
            disturb(run(clip, killed, models, settings), chance, args, findings)
            compare(peaceful, killed, findings)
            print(
                f"  run {findings.runs}: {findings.hits.total()} kills, clean: {findings.clean}", flush=True
            )
    rows = [
        ("kills", str(findings.hits.total()), ", ".join(f"{n} {findings.hits[n]}" for n in NAMES)),
        ("runs", str(findings.runs), f"of {args.frames} frames, seed {args.seed}"),
        ("missed", str(findings.missed), "kills that found nothing at work; not counted"),
        ("lost", str(findings.lost), "frames"),
        ("doubled", str(findings.doubled), "frames"),
        ("id_mismatches", str(findings.id_mismatches), "frames"),
        ("quarantined", str(findings.quarantined), "frames given up, although none of them kills"),
    ]
    table("stages killed over Kafka", rows)
    figures: dict[str, object] = {
        "kills": findings.hits.total(),
        "lost": findings.lost,
        "doubled": findings.doubled,
        "id_mismatches": findings.id_mismatches,
        "quarantined": findings.quarantined,
        "runs": findings.runs,
        "kills_by_stage": dict(findings.hits),
        "seed": args.seed,
        "frames": args.frames,
        "seconds": round(time.monotonic() - begin, 1),
    }
    write("chaos-stages", figures)
    sys.exit(0 if findings.clean else 1)


def numbered_clip(frames: int, seed: int) -> Path:
    """Two people and a number in every frame."""
    path = CACHE / f"numbered_{frames}_{seed}.mp4"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = WorldSpec(seed=seed, people=2, frames=frames, width=320, height=180, number_code=True)
        write_clip(spec, path, truth=False)
    return path


@contextmanager
def broker() -> Iterator[KafkaSettings]:
    """The one that POSETASK_KAFKA names, or one of our own."""
    if os.environ.get("POSETASK_KAFKA"):
        yield KafkaSettings.from_environment()
        return
    with tempfile.TemporaryDirectory(prefix="posetask-kafka-") as folder:
        command = [sys.executable, str(KAFKA)]
        done = subprocess.run([*command, "start", "--dir", folder], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"no broker: {done.stderr.strip()}")
        try:
            yield KafkaSettings(bootstrap=done.stdout.strip())
        finally:
            subprocess.run([*command, "stop", "--dir", folder], capture_output=True, check=False)


def run(clip: Path, output: Path, models: dict[str, str], settings: KafkaSettings) -> DistributedRun:
    """Started."""
    options = RunOptions.parse({**models, "formats": ("jsonl",)})
    begun = DistributedRun(resolve(clip)[0], output, options, settings)
    begun.start()
    return begun


def disturb(run: DistributedRun, chance: random.Random, args: argparse.Namespace, findings: Findings) -> None:
    """Kill stages until the run ends, or enough were killed.

    A process that was killed gets its chance to come up again most of the time: what dies while it imports
    tests nothing, and six starts in a row without a frame end a run.
    """
    findings.runs += 1
    killed: dict[str, str] = {}
    while True:
        if run.wait(chance.uniform(0.2, 2 * args.pause - 0.2)) is not None:
            break
        name, early = chance.choice(NAMES), chance.random() < 0.1
        report = run.reports.get(name)
        if findings.hits.total() >= args.kills or report is None:
            continue
        working = report.state == "running" and report.instance != killed.get(name)
        if report.frames >= args.frames or not (working or early):
            continue
        if run.children[name].kill():
            killed[name] = report.instance
            findings.hits[name] += 1
        else:
            findings.missed += 1
    findings.quarantined += run.quarantined


def numbers_in(video: Path) -> list[int | None]:
    """Frame numbers as the pictures show them."""
    with av.open(str(video)) as container:
        return [read_frame_number(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


def compare(peaceful: Path, killed: Path, findings: Findings) -> None:
    """Add what differs. People may walk in front of a number: what peace cannot read need not be read."""
    wanted, got = numbers_in(peaceful), numbers_in(killed)
    shown = Counter(number for number in got if number is not None)
    hidden = max(0, len(wanted) - len(got))
    findings.lost += max(hidden, sum(number not in shown for number in wanted if number is not None))
    findings.doubled += max(len(got) - len(wanted), sum(shown.values()) - len(shown), 0)
    lines = [path.with_suffix(".jsonl").read_text().splitlines() for path in (peaceful, killed)]
    findings.id_mismatches += sum(a != b for a, b in zip(*lines, strict=False))
    findings.id_mismatches += abs(len(lines[0]) - len(lines[1]))


if __name__ == "__main__":
    main()
