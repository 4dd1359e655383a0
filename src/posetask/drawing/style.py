"""What is joined to what, and how thick: the skeleton's links and the sizes that follow from the frame.

The links are drawing's own: which joints a limb connects is a matter of the picture, not of the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A set of keypoints and the limbs between them.

    Attributes:
        name: As it stands in a result's metadata.
        keypoints: The keypoints' names, in the model's order.
        links: Pairs of keypoint indices, drawn in this order.
        head: Indices of the keypoints on the head; the id's label hangs above them.
    """

    name: str
    keypoints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    head: tuple[int, ...]

    def side(self, link: tuple[int, int]) -> int:
        """Which half of the body a link lies on: -1 left, 1 right (the person's own), 0 across.

        >>> [COCO_17.side(link) for link in ((5, 7), (6, 8), (5, 6), (0, 1))]
        [-1, 1, 0, -1]
        """
        names = [self.keypoints[i] for i in link]
        left = any(name.startswith("left") for name in names)
        right = any(name.startswith("right") for name in names)
        return int(right) - int(left)


COCO_17 = Skeleton(
    name="coco-17",
    keypoints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    links=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    head=(0, 1, 2, 3, 4),
)
"""COCO's 17 keypoints (Lin et al., 2014) and its links, less the one between the eyes."""


def line_width(width: int, height: int) -> int:
    """Thickness of limbs and boxes in pixels for a frame of ``width`` x ``height``.

    >>> [line_width(*size) for size in ((320, 240), (960, 540), (1920, 1080), (3840, 2160))]
    [1, 2, 4, 8]
    """
    return max(1, round(min(width, height) / 270))


def label_height(width: int, height: int) -> int:
    """Height of a label in pixels: never under 12 or 2 % of the shorter side, and a little more between.

    >>> [label_height(*size) for size in ((320, 240), (960, 540), (1920, 1080), (3840, 2160))]
    [12, 17, 26, 44]
    """
    side = min(width, height)
    return max(12, math.ceil(side * 0.02), round(8 + side / 60))
