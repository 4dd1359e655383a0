"""The namespaces of a node: network (without an uplink), mounts and processes, held by one small process.

Nothing in them can reach another machine. When the holder ends, the kernel ends every process in them, drops
the mounts, and takes the bridges and rules away: there is nothing else to clean up but cgroups and files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from kubelib.errors import KubeFailed

HOLDER = Path(__file__).with_name("holder.py")
ENTERED = "POSETASK_NODE"  # in the environment of what runs inside: the state folder
SECONDS = 20


class Namespaces:
    """The namespaces of one state folder.

    Args:
        folder: Where the pid file lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._file = self.folder / "holder.pid"

    @property
    def pid(self) -> int | None:
        """Of the holder, as seen from outside; None where there is none."""
        try:
            pid = int(self._file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = str(HOLDER).encode() in command and str(self.folder).encode() in command
        return pid if ours else None

    @property
    def inside(self) -> bool:
        """Whether this process runs in them."""
        return os.environ.get(ENTERED) == str(self.folder)

    def make(self) -> None:
        """Make them, where they are not there.

        Raises:
            KubeFailed: Not root, no ``unshare``, or the kernel refuses.
        """
        if self.pid is not None:
            return
        if os.geteuid() != 0:
            raise KubeFailed("a node needs root for its namespaces and cgroups (run it with sudo)")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file.unlink(missing_ok=True)
        (self.folder / "holder.ready").unlink(missing_ok=True)
        log = self.folder / "holder.log"
        with log.open("ab") as out:
            subprocess.Popen(  # noqa: S603
                [
                    *(_tool("unshare"), "--net", "--mount", "--pid", "--fork", "--mount-proc"),
                    *("--propagation", "private", sys.executable, "-S", HOLDER, self.folder),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd="/",
            )
        deadline = time.monotonic() + SECONDS
        while (pid := _holder(self.folder)) is None:
            if time.monotonic() > deadline:
                raise KubeFailed(f"no namespaces within {SECONDS} s; {log} says\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        self._file.write_text(f"{pid}\n")

    def command(self, command: list[str]) -> list[str]:
        """The command that runs ``command`` inside.

        Raises:
            KubeFailed: There are none.
        """
        pid = self.pid
        if pid is None:
            raise KubeFailed("the cluster does not run (run: make cluster)")
        # Not `ip netns exec`: it hides /sys/fs/cgroup, which the kubelet needs.
        enter = [_tool("nsenter"), f"--target={pid}", "--net", "--mount", "--pid", "--wd=/"]
        return [*enter, "env", f"{ENTERED}={self.folder}", *command]

    def end(self) -> bool:
        """End every process inside, whatever it does; False where there was none."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + SECONDS
            while self.pid is not None:
                if time.monotonic() > deadline:
                    raise KubeFailed(f"process {pid} does not end")
                time.sleep(0.05)
        self._file.unlink(missing_ok=True)
        return pid is not None


def _holder(folder: Path) -> int | None:
    """Pid, as seen from here, of the holder that says it is ready."""
    if not (folder / "holder.ready").is_file():
        return None
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parts = (entry / "cmdline").read_bytes().split(b"\0")
                if str(HOLDER).encode() in parts and str(folder).encode() in parts and b"-S" in parts:
                    status = (entry / "status").read_text()
                    ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
                    if ids[-1] == "1" and len(ids) > 2:
                        return int(entry.name)
    return None


def _tool(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise KubeFailed(f"{name} is not there (run: sudo make setup-cluster)")
    return path
