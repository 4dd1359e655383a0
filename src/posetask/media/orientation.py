"""How a stored picture is turned upright: display matrices of containers, orientation tags of photographs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.sidedata.sidedata import Type


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a rectangle on itself: transpose first, then the flips.

    Attributes:
        transpose: Exchange x and y.
        flip_x: Then mirror left and right.
        flip_y: Then mirror top and bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def rotation(self) -> int:
        """Degrees clockwise, 0, 90, 180 or 270; of a mirrored picture, after its mirroring left to right.

        >>> Orientation(transpose=True, flip_x=True).rotation
        90
        """
        flip_x = self.flip_x ^ self.mirrored
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if flip_x else 0

    @property
    def mirrored(self) -> bool:
        """True where writing would be seen as in a mirror without the correction."""
        return self.transpose ^ self.flip_x ^ self.flip_y

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture, in pixels."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn it upright, ``(h, w, 3)``; the same array where nothing is to be done."""
        import cv2  # who only looks at a video turns no picture

        match (self.transpose, self.flip_x, self.flip_y):
            case (False, False, False):
                return image
            case (False, x, y):
                upright = cv2.flip(image, 0 if not x else (-1 if y else 1))
            case (True, True, False):
                upright = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
            case (True, False, True):
                upright = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
            case (_, x, _):
                upright = cv2.transpose(image)
                if x:
                    upright = cv2.flip(upright, -1)
        return upright.astype(np.uint8, copy=False)

    @classmethod
    def from_matrix(cls, matrix: bytes) -> Orientation:
        """From nine native 32-bit integers in the layout of ISO/IEC 14496-12, 6.2.2.

        A stored point (x, y) is shown at (a x + c y, b x + d y). Angles that are no multiple of 90 degrees
        are taken as the nearest; malformed matrices as upright.
        """
        if len(matrix) < 36:
            return cls()
        a, b, _, c, d = struct.unpack("=5i", matrix[:20])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transpose=True, flip_x=c < 0, flip_y=b < 0)
        return cls(flip_x=a < 0, flip_y=d < 0)

    @classmethod
    def from_exif(cls, tag: int) -> Orientation:
        """From the value of Exif's Orientation tag (CIPA DC-008, 4.6.4), 1 to 8; anything else is upright."""
        flips = {
            2: cls(flip_x=True),
            3: cls(flip_x=True, flip_y=True),
            4: cls(flip_y=True),
            5: cls(transpose=True),
            6: cls(transpose=True, flip_x=True),
            7: cls(transpose=True, flip_x=True, flip_y=True),
            8: cls(transpose=True, flip_y=True),
        }
        return flips.get(tag, cls())

    @classmethod
    def from_angle(cls, degrees: float) -> Orientation:
        """From an angle counter-clockwise, taken as the nearest multiple of 90 degrees."""
        turns = round(degrees / 90) % 4
        return cls.from_exif((1, 8, 3, 6)[turns])

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> Orientation:
        """From the display matrix that FFmpeg attached to a decoded frame."""
        try:
            side_data = cast("Mapping[Type, Buffer]", frame.side_data)
            return cls.from_matrix(bytes(side_data[Type.DISPLAYMATRIX]))
        except KeyError:
            return cls()
        except ValueError:  # PyAV cannot list side data newer than itself; the angle it always gives
            return cls.from_angle(frame.rotation)
