"""How many cores this process may really use: the affinity mask and the cgroup's quota, whichever is less.

ONNX Runtime, x264 and FFmpeg size their pools to the host's cores and ignore the cgroup
(onnxruntime#29510); a pod with a quota of 2 on a 64-core node would run 64 threads in turns.
"""

from __future__ import annotations

import math
import os
from pathlib import Path


def quota_cores(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Cores granted by the cgroup (v2 ``cpu.max``, v1 ``cpu.cfs_*``); infinity where there is no limit.

    Args:
        root: Where the cgroup file systems are mounted.
        membership: The process's cgroup file.
    """
    limits = [math.inf]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        path = path.lstrip("/")
        if controllers == "":
            for folder in _ancestors(root, path):
                limits.append(_v2(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                for folder in _ancestors(mount, path):
                    limits.append(_v1(folder))
    return min(limits)


def available_cores() -> int:
    """Whole cores to size pools by: at least 1, a fraction of a core rounded up."""
    try:
        affinity = len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not on Linux
        affinity = os.cpu_count() or 1
    quota = quota_cores()
    return max(1, affinity if math.isinf(quota) else min(affinity, math.ceil(quota)))


def _ancestors(mount: Path, path: str) -> list[Path]:
    folder = mount / path
    return [folder, *(p for p in folder.parents if p == mount or mount in p.parents)]


def _v2(file: Path) -> float:
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def _v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota <= 0 else quota / period
