"""The keypoint set that everything else takes its names, links and sigmas from."""

from __future__ import annotations

import pytest
from pycocotools.cocoeval import Params

from posetask.messages import COCO_17, Skeleton


def test_the_skeleton_is_cocos() -> None:
    assert len(COCO_17) == len(COCO_17.keypoints) == len(COCO_17.sigmas) == 17
    assert len(COCO_17.links) == len({frozenset(link) for link in COCO_17.links}) == 19
    assert {i for link in COCO_17.links for i in link} == set(range(17))
    assert COCO_17.pairs == tuple((i, i + 1) for i in range(1, 17, 2))
    assert Params(iouType="keypoints").kpt_oks_sigmas == pytest.approx(COCO_17.sigmas)
    knee = COCO_17.keypoints.index("left_knee")
    assert [COCO_17.side(link) for link in COCO_17.links if knee in link] == [-1, -1]


def test_sigmas_are_given_for_all_keypoints_or_none() -> None:
    assert Skeleton("s", ("nose",), ()).sigmas == ()
    with pytest.raises(ValueError, match="2 sigmas for 1"):
        Skeleton("s", ("nose",), (), sigmas=(0.1, 0.2))


def test_sides_come_from_the_names() -> None:
    body = Skeleton("three", ("middle", "left_hand", "right_hand"), ((0, 1), (0, 2), (1, 2)))
    assert [body.side(link) for link in body.links] == [-1, 1, 0]
