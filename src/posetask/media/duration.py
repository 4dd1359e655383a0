"""How long a container says that its pictures last, and how much of that was shown."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

_EBML_HEAD = 1 << 16
_EBML_DURATION = (b"\x44\x89\x84", b"\x44\x89\x88")  # Segment/Info/Duration, a float of 4 or 8 bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What the container says.

    Attributes:
        seconds: The duration; None where the container claims nothing that could be checked: GIF, live
            Matroska, any duration that would be guessed from a bit rate, and an AVI that is all there, whose
            duration counts empty chunks that repeat the last frame.
        from_zero: Counted from the clock's zero and not from the first frame (Matroska, Flash).
        whole_file: Of the longest stream, not of the video alone.
    """

    seconds: Fraction | None
    from_zero: bool = False
    whole_file: bool = False

    def missing(self, first: Fraction, end: Fraction, others_end: Fraction, frame: Fraction) -> Fraction:
        """Seconds that were not shown, 0 if it is no more than one frame.

        Args:
            first: When the source's first frame is shown, on its own clock, in seconds.
            end: When the last frame ends.
            others_end: When the other streams end.
            frame: Duration of a frame.

        >>> Claim(Fraction(2)).missing(Fraction(1), Fraction(3), Fraction(0), Fraction(1, 25))
        Fraction(0, 1)
        >>> Claim(Fraction(2)).missing(Fraction(1), Fraction(2), Fraction(0), Fraction(1, 25))
        Fraction(1, 1)
        """
        if self.seconds is None:
            return Fraction(0)
        shown = max(end, others_end) - (0 if self.from_zero else first)
        short = self.seconds - shown
        # Millisecond clocks (Matroska) round each frame's time.
        return short if short > frame + Fraction(1, 500) else Fraction(0)


def claim(path: Path, container: InputContainer, stream: VideoStream) -> Claim:
    """Read the claim of an opened container."""
    match container.format.name.split(",")[0]:
        case "matroska":
            return _matroska(path, container, stream)
        case "flv":
            return Claim(_whole(container), from_zero=True, whole_file=True)
        case "gif":
            return Claim(None)
        case "avi" if _riff_complete(path):
            return Claim(None)
        case _:
            if stream.duration is None or stream.time_base is None or stream.duration <= 0:
                return Claim(None)
            return Claim(stream.duration * stream.time_base)


def _matroska(path: Path, container: InputContainer, stream: VideoStream) -> Claim:
    # Muxers write each track's end as a tag "DURATION", mkvmerge with a language behind it.
    for key, text in stream.metadata.items():
        if key.startswith("DURATION") and (seconds := _clock_text(text)) is not None:
            return Claim(seconds, from_zero=True)
    with path.open("rb") as file:
        head = file.read(_EBML_HEAD)
    if any(mark in head for mark in _EBML_DURATION):
        return Claim(_whole(container), from_zero=True, whole_file=True)
    return Claim(None)


def _riff_complete(path: Path) -> bool:
    """Tell whether the file ends where its last RIFF chunk says."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            kind, length = file.read(4), int.from_bytes(file.read(4), "little")
            if kind != b"RIFF" or not length:
                return position > 0 and kind != b"RIFF"
            position += 8 + length + length % 2
    return position <= size + 1


def _whole(container: InputContainer) -> Fraction | None:
    return None if container.duration is None else Fraction(container.duration, 1_000_000)


def _clock_text(text: str) -> Fraction | None:
    parts = text.strip("\0 ").split(":")
    try:
        hours, minutes, seconds = (Fraction(part) for part in parts)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds
