"""Which keypoints a pose has, how they are joined, and how exactly people can point at them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A keypoint set.

    Attributes:
        name: As it stands in a result's metadata.
        keypoints: Names, in the order of the data.
        links: What is joined to what: pairs of indices into ``keypoints``, from 0.
        head: Indices of the keypoints on the head.
        sigmas: Per keypoint, the spread of human annotators relative to the square root of the
            person's area; OKS divides by it (twice). Empty where nobody measured it.

    Raises:
        ValueError: There are sigmas, but not one for each keypoint.
    """

    name: str
    keypoints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    head: tuple[int, ...] = ()
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.sigmas and len(self.sigmas) != len(self.keypoints):
            raise ValueError(f"{self.name}: {len(self.sigmas)} sigmas for {len(self.keypoints)} keypoints")

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(left, right) indices that a mirrored picture swaps.

        >>> COCO_17.pairs[:2]
        ((1, 2), (3, 4))
        """
        index = {name: i for i, name in enumerate(self.keypoints)}
        return tuple((i, index["right" + name[4:]]) for name, i in index.items() if name.startswith("left_"))

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
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    # in the order of COCO's own annotations, which count from 1
    links=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    head=(0, 1, 2, 3, 4),
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
)
"""COCO's 17 keypoints: names and links as in its annotations (Lin et al. 2014, arXiv 1405.0312), sigmas as in
its keypoint evaluation (cocodataset.org/#keypoints-eval)."""
