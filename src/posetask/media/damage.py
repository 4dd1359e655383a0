"""What was lost while decoding, written down once and told in words."""

from __future__ import annotations

from fractions import Fraction

from posetask.messages import DecodeReport


class Ledger:
    """Damage met in one reading of a source.

    A packet that is marked corrupt, then refused, then concealed is one loss: events are told apart by the
    packet's key, its presentation time in ticks.

    Args:
        since: Ticks; what lies before is no part of the piece that was asked for, and is not written down.
    """

    def __init__(self, since: int | None = None) -> None:
        self.since = since
        self.marked: set[int] = set()
        self.refused: set[int] = set()
        self.concealed: set[int] = set()
        self.demux_errors: list[str] = []
        self.notes: list[str] = []

    def __bool__(self) -> bool:
        """Tell whether decoding went wrong; a note alone, such as a change of size, does not count."""
        return bool(self.marked or self.refused or self.concealed or self.demux_errors)

    def _asked_for(self, time: int | None) -> bool:
        return self.since is None or time is None or time >= self.since

    def mark(self, key: int, time: int | None) -> None:
        """Note a packet that the demuxer marks corrupt."""
        if self._asked_for(time):
            self.marked.add(key)

    def refuse(self, key: int, time: int | None) -> None:
        """Note a packet that the decoder refused."""
        if self._asked_for(time):
            self.refused.add(key)

    def conceal(self, key: int, time: int | None) -> None:
        """Note a frame whose damage the decoder painted over; the frame is handed on."""
        if self._asked_for(time):
            self.concealed.add(key)

    def demux_error(self, error: Exception) -> None:
        """Note that the container could not be read at some place."""
        self.demux_errors.append(str(error.__class__.__name__))

    def note(self, text: str) -> None:
        """Note something else, once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def corrupt_packets(self) -> int:
        """How many packets or frames are concerned."""
        return len(self.marked | self.refused | self.concealed)

    def tell(self, report: DecodeReport, missing: Fraction, declared: Fraction | None) -> None:
        """Put everything into ``report``.

        Args:
            report: Filled in place.
            missing: Seconds by which the presented duration is short, 0 where it is not.
            declared: The container's duration, in seconds.
        """
        report.corrupt_packets = self.corrupt_packets
        report.missing_seconds = float(missing)
        problems = []
        if self.demux_errors:
            problems.append(f"the container cannot be read at {_count(len(self.demux_errors), 'place')}")
        if self.marked:
            problems.append(f"{_count(len(self.marked), 'packet')} cut short or marked corrupt")
        if refused := self.refused - self.marked:
            problems.append(f"{_count(len(refused), 'packet')} refused by the decoder")
        if concealed := self.concealed - self.marked - self.refused:
            problems.append(f"{_count(len(concealed), 'frame')} damaged; the damage is painted over")
        if missing > 0 and declared is not None:
            there = max(declared - missing, Fraction(0))
            problems.append(f"{float(there):.2f} s of {float(declared):.2f} s are there")
        report.problems = problems + self.notes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
