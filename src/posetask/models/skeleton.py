"""Which keypoints a pose has, how they are joined, and how exactly people can point at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Limb = Literal["head", "torso", "left_arm", "right_arm", "left_leg", "right_leg"]


@dataclass(frozen=True, slots=True)
class Link:
    """A line of the drawing: indices of two keypoints, and the limb it belongs to (for its colour)."""

    a: int
    b: int
    limb: Limb

    @property
    def side(self) -> Literal["left", "right", "centre"]:
        """Side of the person, not of the picture."""
        if self.limb.startswith("left"):
            return "left"
        return "right" if self.limb.startswith("right") else "centre"


@dataclass(frozen=True)
class Skeleton:
    """A keypoint set.

    Attributes:
        name: As the catalogue calls it.
        keypoints: Names, in the order of the model's outputs.
        links: What is joined to what.
        sigmas: Per keypoint, the spread of human annotators relative to the square root of the
            person's area; OKS divides by it (twice).
    """

    name: str
    keypoints: tuple[str, ...]
    links: tuple[Link, ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.keypoints):
            raise ValueError(f"{self.name}: {len(self.sigmas)} sigmas for {len(self.keypoints)} keypoints")

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(left, right) indices that a mirrored picture swaps.

        >>> COCO17.pairs[0]
        (1, 2)
        """
        index = {name: i for i, name in enumerate(self.keypoints)}
        return tuple((i, index["right" + name[4:]]) for name, i in index.items() if name.startswith("left_"))


def _links(names: tuple[str, ...], rows: tuple[tuple[str, str, Limb], ...]) -> tuple[Link, ...]:
    index = {name: i for i, name in enumerate(names)}
    return tuple(Link(index[a], index[b], limb) for a, b, limb in rows)


_COCO = (
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
)

COCO17 = Skeleton(
    name="coco17",
    keypoints=_COCO,
    links=_links(
        _COCO,
        (
            ("nose", "left_eye", "head"),
            ("nose", "right_eye", "head"),
            ("left_eye", "right_eye", "head"),
            ("left_eye", "left_ear", "head"),
            ("right_eye", "right_ear", "head"),
            ("left_ear", "left_shoulder", "head"),
            ("right_ear", "right_shoulder", "head"),
            ("left_shoulder", "right_shoulder", "torso"),
            ("left_shoulder", "left_hip", "torso"),
            ("right_shoulder", "right_hip", "torso"),
            ("left_hip", "right_hip", "torso"),
            ("left_shoulder", "left_elbow", "left_arm"),
            ("left_elbow", "left_wrist", "left_arm"),
            ("right_shoulder", "right_elbow", "right_arm"),
            ("right_elbow", "right_wrist", "right_arm"),
            ("left_hip", "left_knee", "left_leg"),
            ("left_knee", "left_ankle", "left_leg"),
            ("right_hip", "right_knee", "right_leg"),
            ("right_knee", "right_ankle", "right_leg"),
        ),
    ),
    # COCO keypoint evaluation (cocoeval.py, kpt_oks_sigmas)
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
)
"""The 17 keypoints of COCO (Lin et al. 2014; cocodataset.org/#keypoints-eval)."""

SKELETONS = {COCO17.name: COCO17}
