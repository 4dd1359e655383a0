"""Build programs from pinned Go modules into the cache; what is there already is not built again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from kubelib.errors import KubeFailed
from kubelib.golang import find_go
from kubelib.locks import locked
from kubelib.tools import Tool, find, tool_of

BUILD_SECONDS = 3600  # the first Kubernetes program compiles a thousand packages


def build(programs: Iterable[str], say: Callable[[str], None] = print) -> dict[str, Path]:
    """Paths of the programs, built where they are missing.

    Safe when two do it at once: the second waits, and then finds them. A build that is cut off leaves nothing
    that looks whole.

    Raises:
        KubeFailed: An unknown program, no Go, or a build that fails.
    """
    paths = {}
    for program in programs:
        tool = tool_of(program)
        path = find(program)
        if path is None:
            with locked(tool.home.with_name(f"{tool.home.name}.lock")):
                path = find(program) or _build(tool, program, say)
        paths[program] = path
    return paths


def _build(tool: Tool, program: str, say: Callable[[str], None]) -> Path:
    go = find_go(tool.go)
    say(f"kube: building {program} {tool.version}")
    begin = time.monotonic()
    target = tool.home / program
    tool.home.mkdir(parents=True, exist_ok=True)
    work = tool.home / f".{program}.{os.getpid()}"
    command: list[str | Path] = [
        go,
        "build",
        "-trimpath",
        "-ldflags",
        tool.ldflags,
        "-o",
        work,
        tool.packages[program],
    ]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=tool.folder,
            env=environment(go),
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        if done.returncode != 0:
            raise KubeFailed(f"{program} {tool.version} does not build:\n{done.stderr[-3000:]}")
        work.rename(target)
    except subprocess.TimeoutExpired:
        raise KubeFailed(f"{program} was not built within {BUILD_SECONDS} s") from None
    finally:
        work.unlink(missing_ok=True)
    say(f"kube: {program} {tool.version}: {time.monotonic() - begin:.0f} s")
    return target


def environment(go: Path) -> dict[str, str]:
    """The caller's, with what decides the result fixed."""
    return {
        **os.environ,
        "CGO_ENABLED": "0",  # static: runs in any image and needs no compiler
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
