"""Which frame of the clip an image of a COCO file is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def number_frames(image_ids: Iterable[int]) -> dict[int, int]:
    """Frame index of every image of a dataset.

    Ids that run from 0 or from 1 without a gap number the frames of a clip, as PoseTask's and most
    converters' do. Any others are names, and stand for themselves.

    >>> number_frames([1, 2, 3])
    {1: 0, 2: 1, 3: 2}
    >>> number_frames([139, 285])
    {139: 139, 285: 285}
    """
    ids = sorted(set(image_ids))
    gapless = bool(ids) and ids[0] in (0, 1) and ids[-1] - ids[0] + 1 == len(ids)
    return {image: image - ids[0] if gapless else image for image in ids}


def find_frames(image_ids: Iterable[int], truth: Mapping[int, int], *, listed: bool) -> dict[int, int]:
    """Frame index, in the truth's clip, of every image of a prediction file.

    Images are the truth's wherever their ids are. Two files of a clip may count from 0 and from 1 (the ids
    are not all the truth's then): each is numbered by itself.

    Args:
        image_ids: Of the predictions.
        truth: Frame of every image of the truth; empty if it is in MOT format.
        listed: Whether the file lists its images, with those in which there is nobody.

    Returns:
        Frames; of images that the truth does not have one past its last.

    >>> find_frames([0, 1], {1: 0, 2: 1}, listed=True)
    {0: 0, 1: 1}
    >>> find_frames([1, 2, 7], {1: 0, 2: 1}, listed=False)
    {1: 0, 2: 1, 7: 9}
    """
    ids = sorted(set(image_ids))
    if all(image in truth for image in ids):
        return {image: truth[image] for image in ids}
    numbered = number_frames(ids)
    own = listed and numbered[ids[-1]] == len(ids) - 1
    if not truth or own or ids[0] == 0:
        return numbered if listed else {image: image for image in ids}
    outside = 1 + max(truth.values())
    return {image: truth.get(image, outside + image) for image in ids}
