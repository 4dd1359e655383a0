"""Pictures into network inputs: letterbox, affine crop, and the one pass from uint8 to float planes.

The geometry is that of the reference implementations (YOLOX ``preproc``; MMPose's top-down affine), the
arithmetic is ours: resampling stays in uint8, and one pass per channel converts, normalises, swaps the
channel order and lays out planes, into memory that is used again. At 192x256 on one core that pass takes
0.05 ms; the usual ``(image - mean) / std`` in float64 takes over 1 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

T = TypeVar("T")


class Spares(Generic[T]):
    """Scratch memory for concurrent callers: as many sets as there were callers at once, used again."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._free: deque[T] = deque()  # its append and pop are atomic

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """Lend a set for the body of a ``with``."""
        try:
            item = self._free.pop()
        except IndexError:
            item = self._make()
        try:
            yield item
        finally:
            self._free.append(item)


class Normaliser:
    """uint8 pixels, BGR or BGRA, to float32 planes: ``(pixel - mean) / std`` in the wanted order.

    Args:
        colour: Order of the planes.
        mean: Per plane, 0..255; None with ``std``: pixels stay 0..255.
        std: Per plane.
    """

    def __init__(
        self,
        colour: Literal["BGR", "RGB"],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._channels = (0, 1, 2) if colour == "BGR" else (2, 1, 0)
        self._mean, self._std = mean, std

    def value(self, grey: int) -> Floats:
        """Give what a pixel of this grey becomes: ``(3, 1, 1)``."""
        value = np.full(3, grey, np.float64)
        if self._mean is not None and self._std is not None:
            value = (value - self._mean) / self._std
        return value.astype(np.float32).reshape(3, 1, 1)

    def __call__(self, image: Image, out: Floats, planes: Sequence[Image]) -> None:
        """Fill ``out``.

        Args:
            image: ``(h, w, 3 or 4)``; a fourth channel is ignored.
            out: ``(3, h, w)``; each plane's rows may lie in a larger picture.
            planes: Scratch, one ``(h, w)`` uint8 for each channel of ``image``.
        """
        cv2.split(image, list(planes))
        for i, channel in enumerate(self._channels):
            if self._mean is None or self._std is None:
                np.copyto(out[i], planes[channel])
            else:  # alpha * a + beta * b + gamma with one input: the fastest exact way found (docs/models.md)
                std = self._std[i]
                cv2.addWeighted(
                    *(planes[channel], 1 / std, planes[channel], 0.0, -self._mean[i] / std),
                    dst=out[i],
                    dtype=cv2.CV_32F,
                )


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A whole picture in the network's input, aspect kept, the rest grey.

    Attributes:
        width: Of the resized picture.
        height: Of the resized picture.
        left: Where it lies in the input.
        top: Where it lies in the input.
        scale_x: Input pixels per frame pixel.
        scale_y: Likewise.
    """

    width: int
    height: int
    left: int
    top: int
    scale_x: float
    scale_y: float

    @classmethod
    def fit(
        cls,
        size: tuple[int, int],
        into: tuple[int, int],
        padding: Literal["top-left", "centre"] = "top-left",
        rounding: Literal["floor", "nearest"] = "floor",
    ) -> Letterbox:
        """How a frame of ``size`` (width, height) lies in an input of ``into``.

        ``floor`` is YOLOX's ``preproc``: ``r = min(H/h, W/w)``, size ``int(side * r)``, boxes divided by
        r. ``nearest`` is MMDetection's ``Resize``: size rounded, boxes divided by what each side's scale
        came to. A side never shrinks to nothing.

        >>> box = Letterbox.fit((960, 540), (416, 416))
        >>> box.width, box.height, round(box.scale_x, 4)
        (416, 234, 0.4333)
        """
        (w, h), (into_w, into_h) = size, into
        r = min(into_h / h, into_w / w)
        half = 0.5 if rounding == "nearest" else 0.0
        new_w, new_h = max(1, int(w * r + half)), max(1, int(h * r + half))
        left, top = ((into_w - new_w) // 2, (into_h - new_h) // 2) if padding == "centre" else (0, 0)
        scale = (new_w / w, new_h / h) if rounding == "nearest" else (r, r)
        return cls(new_w, new_h, left, top, *scale)

    def to_frame(self, xyxy: Doubles) -> Doubles:
        """Boxes ``(N, 4)`` from input pixels to frame pixels."""
        offset = np.array([self.left, self.top, self.left, self.top], np.float64)
        scale = np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])
        frame: Doubles = (xyxy - offset) / scale
        return frame


def crop_scale(xyxy: Doubles, aspect: float, expansion: float) -> tuple[Doubles, Doubles]:
    """Centre and size of the crop of each box: grown, then widened to the input's aspect.

    MMPose ``GetBBoxCenterScale`` and ``TopdownAffine``.

    Args:
        xyxy: ``(N, 4)``.
        aspect: Input width / height.
        expansion: Factor on both sides.

    Returns:
        Centres ``(N, 2)`` and sizes ``(N, 2)``, width and height, in frame pixels.

    >>> centre, size = crop_scale(np.array([[0.0, 0.0, 30.0, 100.0]]), 0.75, 1.25)
    >>> centre.tolist(), size.tolist()
    ([[15.0, 50.0]], [[93.75, 125.0]])
    """
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    w, h = ((xyxy[:, 2:] - xyxy[:, :2]) * expansion).T
    wide = w > h * aspect
    return centre, np.stack([np.where(wide, w, h * aspect), np.where(wide, w / aspect, h)], axis=1)


def crop_matrix(centre: Doubles, size: Doubles, width: int, height: int) -> Doubles:
    """Affine matrix ``(2, 3)`` from frame pixels to the pixels of a crop of ``width`` x ``height``.

    The crop's middle (width/2, height/2) is the box's, without the half-pixel shift of UDP, as RTMPose
    was trained.
    """
    ratio = width / size[0]
    return np.array(
        [[ratio, 0.0, width / 2 - ratio * centre[0]], [0.0, ratio, height / 2 - ratio * centre[1]]]
    )
