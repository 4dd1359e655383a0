"""What a killed run left, against what a run in peace left. No counter of ours is trusted.

lost            frame numbers that the peaceful video shows and the other does not
doubled         frame numbers that it shows twice
id_mismatches   frames whose people (ids, boxes, keypoints) are not the same
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import av

from posetask.synth.framecode import read_frame_number


@dataclass(frozen=True)
class Difference:
    """Frames."""

    lost: int = 0
    doubled: int = 0
    id_mismatches: int = 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.id_mismatches + other.id_mismatches,
        )

    def __bool__(self) -> bool:
        return self != Difference()


def numbers_in(video: Path) -> list[int | None]:
    """Frame numbers as the pictures show them."""
    with av.open(str(video)) as container:
        return [read_frame_number(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


def compare(peaceful: Path, killed: Path) -> Difference:
    """What differs. People may walk in front of a number: what peace cannot read need not be read."""
    wanted, got = numbers_in(peaceful), numbers_in(killed)
    lines = [path.with_suffix(".jsonl").read_text().splitlines() for path in (peaceful, killed)]
    differing = sum(a != b for a, b in zip(*lines, strict=False)) + abs(len(lines[0]) - len(lines[1]))
    return count(wanted, got) + Difference(id_mismatches=differing)


def count(wanted: list[int | None], got: list[int | None]) -> Difference:
    """Of the numbers alone.

    >>> count([0, 1, None, 3], [0, 1, None, 3])
    Difference(lost=0, doubled=0, id_mismatches=0)
    >>> count([0, 1, None, 3], [0, 1, 3])
    Difference(lost=1, doubled=0, id_mismatches=0)
    >>> count([0, 1, 2, 3], [0, 1, 1, 3])
    Difference(lost=1, doubled=1, id_mismatches=0)
    >>> count([0, 1, None, 3], [0, 1, None, None, 3])
    Difference(lost=0, doubled=1, id_mismatches=0)
    """
    shown = Counter(number for number in got if number is not None)
    missing = sum(number not in shown for number in wanted if number is not None)
    lost = max(len(wanted) - len(got), missing)
    doubled = max(len(got) - len(wanted), sum(shown.values()) - len(shown), 0)
    return Difference(lost=lost, doubled=doubled)
