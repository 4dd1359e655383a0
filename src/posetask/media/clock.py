"""Presentation times as the source has them, strictly increasing."""

from __future__ import annotations

import heapq
from fractions import Fraction

import av

_LEAP = 10  # seconds


class Clock:
    """Gives every frame, in the order in which they are shown, its time in ticks.

    The source's own time is kept wherever it increases. Otherwise:

    - A frame at or shortly before its predecessor's time (duplicates, rounding in the muxer) follows it by
      one tick.
    - A frame a second or more before its predecessor, or behind the end that the container declares and 10
      seconds ahead, follows its predecessor by one frame. If the next frame says the same, its time is
      believed: forwards as it is; backwards it is a new clock (recordings appended to each other), and all
      that follows is moved on to continue.
    - A container that stores no presentation times (AVI) has decoding times; the n-th frame shown gets the
      n-th smallest of them.

    Args:
        time_base: Seconds per tick.
        stored: False where the container stores no presentation times.
        end: Ticks at which the container says that it ends; None where that is unknown.

    Attributes:
        strays: Frames whose time could not be right.
        resets: New clocks.
    """

    def __init__(self, time_base: Fraction, *, stored: bool = True, end: int | None = None) -> None:
        self.strays = 0
        self.resets = 0
        self._second = max(1, round(1 / time_base))
        self._stored = stored
        self._end = end
        self._decoding: list[int] = []
        self._offset = 0
        self._last: int | None = None
        self._step = 1
        self._suspect: int | None = None

    def packet(self, dts: int | None) -> None:
        """Say that a packet of this decoding time goes to the decoder."""
        if not self._stored and dts is not None:
            heapq.heappush(self._decoding, dts)

    def lost(self, dts: int | None) -> None:
        """Say that nothing will come of that packet."""
        if dts in self._decoding:
            self._decoding.remove(dts)
            heapq.heapify(self._decoding)

    def frame(self, frame: av.VideoFrame) -> int:
        """Say when the frame is shown, in ticks; more than for any frame before."""
        if self._decoding:
            pts: int | None = heapq.heappop(self._decoding)
        else:
            pts = frame.pts if frame.pts is not None else frame.dts
        self._last = self._place(pts)
        if frame.duration > 0:
            self._step = frame.duration
        return self._last

    def _place(self, pts: int | None) -> int:
        last = self._last
        if last is None:
            return pts or 0
        following = last + self._step
        if pts is None:
            return following
        time = pts + self._offset
        suspect, self._suspect = self._suspect, None
        back = last - time >= self._second
        beyond = self._end is not None and pts > self._end and time - last >= _LEAP * self._second
        if not back and not beyond:
            return max(time, last + 1)
        if suspect is None or abs(pts - suspect) >= _LEAP * self._second:
            self._suspect = pts
            self.strays += 1
            return following
        self.strays -= 1
        if beyond:
            return time
        self.resets += 1
        self._offset = following - pts
        return following
