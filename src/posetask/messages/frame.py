"""What travels from the producer to the other stages: one upright picture and where it belongs in time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""``(height, width, 3)`` uint8, BGR, upright. Read-only once it is on the bus."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Identity and place in time of one frame; every message about the frame carries it.

    Attributes:
        run: Id of the run; ``""`` outside one.
        index: Published frames counted from 0, without gaps.
        pts: Presentation time of the source, in ticks of ``time_base``.
        time_base: Seconds per tick.
        duration: How long the frame is shown, in ticks; 0 where the source does not say.
        width: Pixels, upright.
        height: Pixels, upright.
        frame_rate: Nominal frames per second of the source (its average rate), 0 if unknown.
        analysed: False for a frame between two analysed ones (``--every-n``): detector, pose and
            tracker skip it, and its tracks are interpolated.
        dropped_before: Frames that a live source lost just before this one.
    """

    index: int
    pts: int
    time_base: Fraction
    width: int
    height: int
    duration: int = 0
    frame_rate: float = 0.0
    analysed: bool = True
    dropped_before: int = 0
    run: str = ""

    @property
    def time(self) -> float:
        """Presentation time in seconds.

        >>> FrameHeader(index=0, pts=512, time_base=Fraction(1, 12800), width=2, height=2).time
        0.04
        """
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame on ``raw_frames``: its header and its pixels (see :data:`Image`)."""

    header: FrameHeader
    image: Image

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.shape != (self.header.height, self.header.width, 3):
            raise ValueError(
                f"expected a uint8 image of shape {(self.header.height, self.header.width, 3)}, "
                f"got {self.image.dtype} of {self.image.shape}"
            )

    @property
    def nbytes(self) -> int:
        """Bytes that the frame holds in memory; what a byte-bounded window counts."""
        return self.image.nbytes
