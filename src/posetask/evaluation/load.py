"""Read truth and predictions, whatever format each file is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from posetask.errors import InputError, InvalidParameters
from posetask.evaluation.coco import people_of, read_dataset, read_results
from posetask.evaluation.files import Format, sniff
from posetask.evaluation.images import find_frames, number_frames
from posetask.evaluation.mot import read_mot_predictions, read_mot_truth
from posetask.evaluation.parquet import read_parquet
from posetask.evaluation.people import Flags, People
from posetask.evaluation.sides import PARTS, Part, Predictions, Truth


def load_truth(*paths: Path) -> Truth:
    """Read a COCO dataset, a MOT ``gt.txt``, or both of the same clip.

    With both, boxes and poses come from COCO and tracks from MOT; what one says of a person (same frame
    and id) and the other does not, visibility and what is to be ignored, is carried over.

    Raises:
        InvalidParameters: No file, or two of the same format.
        InputError: A file cannot be read as truth.
    """
    by_format = {sniff(path): path for path in paths}
    if not paths or len(by_format) < len(paths):
        raise InvalidParameters(
            "one truth in each format is needed, COCO or MOT or both",
            hint="--truth T.coco.json, --truth-mot gt.txt, or both",
        )
    for kind, path in by_format.items():
        if kind not in (Format.COCO_DATASET, Format.MOT):
            raise InputError(
                f"{path} is {kind.value}, which can only be scored",
                hint="truth is a COCO dataset (with images and annotations) or a MOT gt.txt",
            )
    mot = read_mot_truth(by_format[Format.MOT]) if Format.MOT in by_format else None
    if Format.COCO_DATASET in by_format:
        path = by_format[Format.COCO_DATASET]
        dataset = read_dataset(path)
        person = dataset.person(path)
        images = number_frames(image.id for image in dataset.images)
        coco = people_of(path, dataset.annotations, person, images)
        if not coco.has_boxes.all():
            raise InputError(f"{path} has annotations without a bbox", hint="a true person needs one")
        if mot is None:
            parts = _truth_parts(coco, coco)
        else:
            parts = _truth_parts(_informed(coco, mot), _informed(mot, coco))
        return Truth(
            parts,
            _reasons(parts, "the truth"),
            frames=np.array(list(images.values()), np.int64),
            heights=dataset.heights(),
            person=person,
            images=images,
        )
    parts = {} if mot is None else _truth_parts(mot, mot)
    return Truth(parts, _reasons(parts, "the truth"))


def load_predictions(paths: Sequence[Path], truth: Truth) -> Predictions:
    """Read what was predicted: COCO (a dataset or results), MOT rows, Parquet, one file or several.

    Of several files of one run each part is taken from the first that has it. Poses are ranked by the
    person's score times the keypoints' mean score, where a file has both.

    Args:
        paths: The files.
        truth: Of the same clip; says which frame an image is, and what COCO results call a person.

    Raises:
        InvalidParameters: No file.
        InputError: A file cannot be read.
    """
    if not paths:
        raise InvalidParameters("there are no predictions to score", hint="name at least one file")
    parts: dict[Part, People] = {}
    for path in paths:
        people, can = _read_predictions(path, truth)
        if not np.isfinite(people.scores).all():
            raise InputError(f"{path} has scores that are no numbers", hint="every person needs a score")
        for part in can:
            rows = {"boxes": people.has_boxes, "poses": people.has_pose, "tracks": _tracked(people)}[part]
            if part not in parts and (rows.any() or not len(people)):
                taken = people.take(rows)
                parts[part] = taken.ranked_as_poses() if part == "poses" else taken
    return Predictions(parts, _reasons(parts, "the predictions"))


def _read_predictions(path: Path, truth: Truth) -> tuple[People, tuple[Part, ...]]:
    kind = sniff(path)
    if kind is Format.MOT:
        return read_mot_predictions(path), ("boxes", "tracks")
    if kind is Format.PARQUET:
        return read_parquet(path), PARTS
    if kind is Format.COCO_RESULTS:
        results = read_results(path)
        images = find_frames((result.image_id for result in results), truth.images, listed=False)
        return people_of(path, results, truth.person, images), PARTS
    dataset = read_dataset(path)
    images = find_frames((image.id for image in dataset.images), truth.images, listed=True)
    return people_of(path, dataset.annotations, dataset.person(path), images), PARTS


def _truth_parts(coco: People, tracked: People) -> dict[Part, People]:
    ignored = tracked.ignored | tracked.crowds
    parts: dict[Part, People] = {"boxes": coco}
    if coco.has_pose.any():
        parts["poses"] = coco
    if tracked.has_id[~ignored].all() and tracked.has_id.any():
        parts["tracks"] = tracked
    return parts


def _tracked(people: People) -> Flags:
    return people.has_id & people.has_boxes


def _reasons(parts: Mapping[Part, People], side: str) -> dict[Part, str]:
    lacks = {"boxes": "boxes", "poses": "COCO-17 keypoints", "tracks": "track ids for everybody who counts"}
    if side == "the predictions":
        lacks["tracks"] = "track ids"
    return {part: f"there are no {lacks[part]} in {side}" for part in PARTS if part not in parts}


def _informed(people: People, other: People) -> People:
    """Add to people what only the other truth says of them, found by frame and id."""
    rows = {key: row for row, key in enumerate(zip(other.frames.tolist(), other.ids.tolist(), strict=True))}
    at = np.array(
        [rows.get(key, -1) for key in zip(people.frames.tolist(), people.ids.tolist(), strict=True)], np.intp
    )
    known = (at >= 0) & people.has_id
    visible, ignored = people.visible.copy(), people.ignored.copy()
    fill = known & ~np.isfinite(visible)
    visible[fill] = other.visible[at[fill]]
    ignored[known] |= other.ignored[at[known]]
    keypoints = people.keypoints.copy()
    pose = known & ~people.has_pose
    keypoints[pose] = other.keypoints[at[pose]]
    return replace(people, visible=visible, ignored=ignored, keypoints=keypoints)
