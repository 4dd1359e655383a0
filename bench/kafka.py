"""The five stages over a real broker against the embedded run, on the same cores, in one run.

throughput   ``posetask run --kafka`` and ``posetask run --wire-codec jpeg:90`` take turns, round by round, on
             mmpose_demo.mp4 looped and on the clip of one person; medians. Seconds are those that the command
             itself reports: over Kafka with the start of five interpreters, embedded without that of one
cost         CPU time of every step of a hop, and of whole runs: ours, and the broker's
latency      of a hop: from the produce call to arrival in the next stage's queue, without batching and
             ``process``; 768x432 at 25 frames/s, inference that takes no time, 60 s after a warm-up

The broker is one of ``scripts/kafka``'s, started here, or that of POSETASK_KAFKA.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from _chaos_broker import Broker
from _clips import loop
from _hopcost import PEOPLE, hop_costs
from _report import CACHE, median, shared_data, table, write

import posetask
from posetask.media.inputs import resolve
from posetask.runtime.distributed import DistributedRun
from posetask.runtime.options import RunOptions
from posetask.transport.kafka.settings import KafkaSettings

HOP = Path(__file__).with_name("_hop_process.py")
RATE, WARM_UP_SECONDS, SECONDS = 25.0, 10, 60
ONE_PERSON = "one-by-one-person-detection.mp4"


@dataclass(frozen=True)
class Measured:
    """One command.

    Attributes:
        summary: Its own.
        wall: Seconds from its start to its end.
        cpu: Seconds of all its processes.
        broker: Seconds of CPU that the broker took meanwhile.
    """

    summary: posetask.Summary
    wall: float
    cpu: float
    broker: float


class Bench:
    """The commands under test.

    Args:
        bootstrap: The broker.
        pid: Of the broker, where it is ours.
        models: Their folder.
    """

    def __init__(self, bootstrap: str, pid: int | None, models: Path) -> None:
        self.bootstrap, self._pid = bootstrap, pid
        self.weights = {
            "detector": str(models / "yolox_nano.onnx"),
            "pose": str(models / "tinypose_256x192_simcc.onnx"),
        }

    def run(self, clip: Path, *more: str) -> Measured:
        """The real command, in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "posetask",
                "run",
                str(clip),
                "-o",
                f"{folder}/out.mp4",
                "--json",
            ]
            command += [part for name, path in self.weights.items() for part in (f"--{name}", path)]
            spent, broker, begin = _children_cpu(), self._broker_cpu(), time.perf_counter()
            done = subprocess.run([*command, *more], stdout=subprocess.PIPE, text=True, check=True)
            wall = time.perf_counter() - begin
        summary = posetask.Summary.model_validate_json(done.stdout)
        return Measured(summary, wall, _children_cpu() - spent, self._broker_cpu() - broker)

    def embedded(self, clip: Path, *more: str) -> Measured:
        """In one process."""
        return self.run(clip, "--wire-codec", "jpeg:90", *more)

    def kafka(self, clip: Path, *more: str) -> Measured:
        """In five."""
        return self.run(clip, "--kafka", self.bootstrap, *more)

    def _broker_cpu(self) -> float:
        if self._pid is None:
            return 0.0
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def throughput(self, name: str, clip: Path, rounds: int, *more: str) -> dict[str, object]:
        """Both, by turns; who begins changes from round to round."""
        found: dict[str, list[Measured]] = {"embedded": [], "kafka": []}
        for i in range(rounds):
            for way in ("embedded", "kafka") if i % 2 == 0 else ("kafka", "embedded"):
                found[way].append(getattr(self, way)(clip, *more))
            said = ", ".join(f"{way} {all_[-1].summary.seconds:.2f} s" for way, all_ in found.items())
            print(f"{name}, round {i + 1}: {said}; load {os.getloadavg()[0]:.1f}", flush=True)
        counts = {(m.summary.frames_annotated, m.summary.tracks) for both in found.values() for m in both}
        if len(counts) > 1:
            sys.exit(f"the runs disagree on frames and tracks: {counts}")
        mid = {way: median([m.summary.seconds for m in all_]) for way, all_ in found.items()}
        frames = found["kafka"][0].summary.frames_annotated
        last = found["kafka"][-1].summary
        return {
            "frames": frames,
            "people_per_frame": last.people_per_frame,
            "ratio_embedded": round(mid["embedded"] / mid["kafka"], 3),
            "fps": {way: round(frames / seconds, 2) for way, seconds in mid.items()},
            "seconds": {way: [round(m.summary.seconds, 2) for m in all_] for way, all_ in found.items()},
            "wall_seconds": {way: [round(m.wall, 2) for m in all_] for way, all_ in found.items()},
            "cpu_seconds": {way: round(median([m.cpu for m in all_]), 2) for way, all_ in found.items()},
            "broker_cpu_seconds": round(median([m.broker for m in found["kafka"]]), 2),
            "busy": {step: round(seconds, 2) for step, seconds in last.busy.items()},
        }

    def latency(self, clip: Path) -> dict[str, object]:
        """Of every hop of a run that keeps time."""
        options = RunOptions.parse({**self.weights, "formats": ()})
        with tempfile.TemporaryDirectory() as folder:
            run = DistributedRun(
                resolve(clip)[0],
                Path(folder) / "out.mp4",
                options,
                KafkaSettings(bootstrap=self.bootstrap),
                command=(sys.executable, str(HOP), folder, str(RATE)),
            )
            run.start()
            summary = run.wait()
            assert summary is not None
            said = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
        first = WARM_UP_SECONDS * RATE
        hops: dict[str, list[float]] = {}
        for stage, arrivals in said:
            for topic, index, took in arrivals:
                if index >= first:
                    name = f"{topic.removesuffix('_' + run.run)} -> {stage}"
                    hops.setdefault(name, []).append(took)
        everything = [took for hop in hops.values() for took in hop]
        return {
            "hop_p99_ms": _percentile(everything, 99),
            "hop_p50_ms": _percentile(everything, 50),
            "hop_max_ms": _percentile(everything, 100),
            "records": len(everything),
            "fps": round(summary.fps, 2),
            "hops": {
                name: {f"p{q}_ms": _percentile(hops[name], q) for q in (50, 99)} for name in sorted(hops)
            },
        }


def _percentile(values: list[float], q: int) -> float:
    return round(float(np.percentile(values, q)), 2)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(found: dict[str, dict[str, object]], rounds: int) -> None:
    """Tables for people."""
    for name, part in found.items():
        if "ratio_embedded" not in part:
            continue
        cpu, fps = part["cpu_seconds"], part["fps"]
        assert isinstance(cpu, dict)
        assert isinstance(fps, dict)
        table(
            f"{name}, {part['frames']} frames, {rounds} rounds",
            [
                ("of embedded", f"{part['ratio_embedded']}", "wanted >= 0.80" if name == "many" else ""),
                ("frames/s", f"{fps['kafka']}", f"embedded {fps['embedded']}"),
                ("CPU seconds", f"{cpu['kafka']}", f"embedded {cpu['embedded']}"),
                ("and the broker", f"{part['broker_cpu_seconds']}", ""),
            ],
        )
    remarks = {
        "encode": "once a frame",
        "produce": "once a frame, librdkafka's threads included",
        "consume": "three times a frame",
        "decode": "three times a frame",
        "protobuf": f"all results of a frame, both ways, {PEOPLE} people",
    }
    costs = found["hop_cost_ms"]
    rows = [(step, f"{costs[step]} ms", remark) for step, remark in remarks.items()]
    table(f"CPU of a hop, JPEG of {costs['jpeg_kib']} KiB", rows)
    latency = found.get("latency")
    if latency is not None:
        rows = [
            ("p99", f"{latency['hop_p99_ms']} ms", "wanted <= 50"),
            ("p50", f"{latency['hop_p50_ms']} ms", ""),
        ]
        hops = latency["hops"]
        assert isinstance(hops, dict)
        rows += [(f"  {name}", f"{hop['p99_ms']} ms", f"p50 {hop['p50_ms']}") for name, hop in hops.items()]
        table(f"latency of a hop, {latency['records']} records at {latency['fps']} frames/s", rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument(
        "--one-frames", type=int, default=400, help="of the clip of one person; 0 leaves it out"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of the latency; 0 leaves it out")
    args = parser.parse_args()
    data = shared_data()
    videos = data / "videos"
    many = loop(videos / "mmpose_demo.mp4", CACHE / f"mmpose_{args.frames}.mp4", args.frames)
    one = videos / ONE_PERSON
    given = os.environ.get("POSETASK_KAFKA")
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        if given is None:
            broker.start()
        try:
            bench = Bench(given or broker.bootstrap, None if given else broker.pid, data / "models")
            bench.kafka(many)  # the broker's own code is compiled while it runs
            found: dict[str, dict[str, object]] = {"many": bench.throughput("many", many, args.rounds)}
            if args.one_frames:
                found["one"] = bench.throughput("one", one, args.rounds, "--max-frames", str(args.one_frames))
            found["hop_cost_ms"] = dict(hop_costs(KafkaSettings(bootstrap=bench.bootstrap), many))
            if args.seconds:
                frames = round((WARM_UP_SECONDS + args.seconds) * RATE)
                fast = loop(one, CACHE / f"one_person_{frames}.mp4", frames, Fraction(5, 2))
                found["latency"] = bench.latency(fast)
        finally:
            if given is None:
                broker.stop()
    show(found, args.rounds)
    write(
        "bench-kafka",
        {
            "ratio_embedded": found["many"]["ratio_embedded"],
            "hop_p99_ms": found.get("latency", {}).get("hop_p99_ms"),
            "load": round(os.getloadavg()[2], 2),
            **found,
        },
    )


if __name__ == "__main__":
    main()
