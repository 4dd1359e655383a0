"""What every benchmark ends with: a table for people, and ``bench/out/<target>.json`` for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from posetask.telemetry import available_cores

OUT = Path(__file__).parent / "out"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "posetask" / "bench"


def shared_data() -> Path:
    """Real clips and weights beside the checkout, or where POSETASK_TEST_DATA says."""
    folder = Path(os.environ.get("POSETASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"{folder} is missing: set POSETASK_TEST_DATA to the folder of real clips and weights")
    return folder


def median(values: Sequence[float]) -> float:
    """The middle one: these machines are noisy."""
    return statistics.median(values)


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print rows of name, value, remark."""
    wide = max(len(row[0]) for row in rows)
    high = max(len(row[1]) for row in rows)
    print(
        f"\n{title}  ({available_cores()} cores, {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()})"
    )
    for name, value, remark in rows:
        print(f"  {name:<{wide}}  {value:>{high}}  {remark}")


def write(target: str, figures: dict[str, object]) -> Path:
    """Write the figures; the folder is not committed."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{target}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nwritten: bench/out/{path.name}")
    return path
