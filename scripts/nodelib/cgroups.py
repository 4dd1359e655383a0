"""What no namespace takes away with it: the kubelet's cgroups, and files."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OURS = "posetask-node"
SECONDS = 10


def make() -> None:
    """Make the cgroup of all pods: a real kubelet of this machine has another."""
    if (ROOT / "cgroup.controllers").is_file():
        (ROOT / OURS).mkdir(exist_ok=True)
        wanted = {"cpu", "cpuset", "memory", "pids", "hugetlb", "io"}
        there = wanted & set((ROOT / "cgroup.controllers").read_text().split())
        (ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(there)))
        return
    for hierarchy in ROOT.iterdir():
        if (hierarchy / "tasks").is_file() and not hierarchy.is_symlink():
            (hierarchy / OURS).mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # empty at first: no process may enter
                if (hierarchy / name).is_file() and not (hierarchy / OURS / name).read_text().strip():
                    (hierarchy / OURS / name).write_text((hierarchy / name).read_text())


def remove() -> int:
    """Remove the emptied cgroups of pods, in every hierarchy; returns how many went."""
    deadline = time.monotonic() + SECONDS
    gone = 0
    while True:
        left = False
        for root in [path for path in (ROOT / OURS, *ROOT.glob(f"*/{OURS}")) if path.is_dir()]:
            folders = [path for path in root.rglob("*") if path.is_dir()]
            for folder in [*sorted(folders, key=lambda path: len(path.parts), reverse=True), root]:
                try:
                    folder.rmdir()
                    gone += 1
                except OSError:  # a process in it has not ended yet
                    left = True
        if not left or time.monotonic() > deadline:
            return gone
        time.sleep(0.1)


def wipe(folder: Path) -> None:
    """Remove the state folder; what a mount in another namespace still holds is left for the next time."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
