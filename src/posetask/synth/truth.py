"""What is exactly true of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The people of one frame whose bodies reach into it, hidden or not, in order of id.

    Pixels, ``(0, 0)`` being the corner of the top-left pixel.

    Attributes:
        frame: Frame number from 0.
        ids: ``(N,)`` int32, from 1; a person keeps the id for the whole clip, also after leaving it.
        boxes: ``(N, 4)`` xyxy, tight around the silhouette, hidden parts included, cut at the picture's
            edge: what a detector can be asked for.
        full_boxes: ``(N, 4)`` xyxy, the same, not cut.
        keypoints: ``(N, 17, 3)`` in COCO's order: x, y, v. v is 2 visible, 1 hidden (by another person, by a
            thing or by the own body), 0 outside the picture (x and y are true all the same).
        visibility: ``(N,)`` visible pixels of the silhouette divided by all its pixels, those outside the
            picture included; 0 for a person that is wholly hidden.
        areas: ``(N,)`` pixels of the silhouette inside the picture, hidden ones included (COCO's area).
    """

    frame: int
    ids: Ints
    boxes: Floats
    full_boxes: Floats
    keypoints: Floats
    visibility: Floats
    areas: Floats

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def visible(self) -> npt.NDArray[np.bool_]:
        """``(N,)``: whether at least a tenth of the person can be seen."""
        return self.visibility >= 0.1
