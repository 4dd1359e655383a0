"""``posetask doctor``: what this machine has, and how to mend what is missing."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from posetask.cli.console import out
from posetask.telemetry import available_cores, quota_cores

LEAST_FREE_GIB = 2
"""Below this an hour of 1080p segments and its MP4 may not fit."""

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        level: ``error`` stops ``posetask run``; ``warning`` costs speed or a feature.
        detail: What was seen.
        remedy: What to do; empty where all is well.
    """

    name: str
    level: Level
    detail: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Check this machine and say how to mend what is missing."""
    findings = examine()
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings]) + "\n")
    else:
        marks = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "error": "[bold red]error  [/]"}
        for finding in findings:
            out.print(f"{marks[finding.level]} {finding.name:<11} ", end="")
            out.print(finding.detail, markup=False, soft_wrap=True)
            if finding.remedy:
                out.print("                    [bold]next[/]: ", end="")
                out.print(finding.remedy, markup=False, soft_wrap=True)
    raise typer.Exit(1 if any(finding.level == "error" for finding in findings) else 0)


def examine() -> list[Finding]:
    """All checks; one that fails by itself is a finding too."""
    checks: dict[str, Callable[[], Finding]] = {
        "python": check_python,
        "inference": check_inference,
        "threads": check_threads,
        "codecs": check_codecs,
        "opencv": check_opencv,
        "models": check_models,
        "disk": check_disk,
    }
    findings = []
    for name, check in checks.items():
        try:
            findings.append(check())
        except Exception as error:  # a broken installation must not hide the other findings
            findings.append(Finding(name, "error", f"{type(error).__name__}: {error}", "make setup"))
    return findings


def check_python() -> Finding:
    """The interpreter."""
    return Finding("python", "ok", f"{sys.version.split()[0]}, posetask {metadata.version('posetask')}")


def check_inference() -> Finding:
    """ONNX Runtime and its execution providers."""
    try:
        import onnxruntime
    except ImportError:
        return Finding(
            "inference", "error", "ONNX Runtime is missing", "pip install 'posetask[cpu]' or 'posetask[gpu]'"
        )
    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(both) == 2:
        return Finding(
            "inference",
            "error",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one extra you want",
        )
    detail = f"ONNX Runtime {onnxruntime.__version__}: {', '.join(providers)}"
    if Path("/dev/nvidia0").exists() and "CUDA" not in providers:
        return Finding(
            "inference", "warning", f"{detail}; there is a GPU", "pip install 'posetask[gpu]' to use it"
        )
    return Finding("inference", "ok", detail)


def check_threads() -> Finding:
    """Cores that pools are sized by."""
    cores, host, quota = available_cores(), os.cpu_count() or 1, quota_cores()
    granted = "no cgroup quota" if quota == float("inf") else f"cgroup quota {quota:g}"
    level: Level = "warning" if cores == 1 else "ok"
    remedy = "give the process 2 cores or more: stages overlap" if cores == 1 else ""
    return Finding("threads", level, f"{cores} of {host} cores ({granted})", remedy)


def check_codecs() -> Finding:
    """FFmpeg's decoders and the H.264 encoder."""
    import av

    wanted = {"h264", "hevc", "vp9", "av1"}
    lacking = sorted(name for name in wanted if name not in av.codecs_available)
    if "libx264" not in av.codecs_available:
        return Finding(
            "codecs",
            "error",
            "this PyAV has no libx264: no MP4 can be written",
            "pip install --force-reinstall av",
        )
    version = f"PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}"
    if lacking:
        return Finding(
            "codecs",
            "warning",
            f"{version}; cannot read {', '.join(lacking)}",
            "pip install --force-reinstall av",
        )
    return Finding("codecs", "ok", version)


def check_opencv() -> Finding:
    """OpenCV, once."""
    import cv2

    twins = [name for name in ("opencv-python", "opencv-contrib-python") if _installed(name)]
    if twins:
        return Finding(
            "opencv",
            "warning",
            f"{', '.join(twins)} shares its files with opencv-python-headless",
            f"pip uninstall {' '.join(twins)} and pip install --force-reinstall opencv-python-headless",
        )
    return Finding("opencv", "ok", f"OpenCV {cv2.__version__}")


def check_models() -> Finding:
    """Models that ``posetask run`` takes when none is named."""
    from posetask.models.store import installed, models_folder

    found = installed()
    if not found:
        return Finding("models", "warning", f"none in {models_folder()}", "posetask models pull")
    return Finding("models", "ok", f"{', '.join(found)} in {models_folder()}")


def check_disk() -> Finding:
    """Room where results and temporary files go."""
    places = {Path.cwd(), Path(tempfile.gettempdir())}
    free = {place: shutil.disk_usage(place).free / 2**30 for place in places}
    tight = [str(place) for place, gib in free.items() if gib < LEAST_FREE_GIB]
    detail = ", ".join(f"{gib:.0f} GiB free in {place}" for place, gib in free.items())
    if tight:
        return Finding("disk", "warning", detail, f"free {LEAST_FREE_GIB} GiB in {', '.join(tight)}")
    return Finding("disk", "ok", detail)


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
