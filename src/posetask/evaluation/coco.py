"""COCO keypoints JSON: a dataset (truth, or what ``posetask run`` writes) or a list of results.

https://cocodataset.org/#format-data and #format-results. Beyond COCO: ``track_id`` (as in PoseTrack),
``visibility`` (share of the person in view), ``ignore`` and ``keypoint_scores``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from posetask.errors import InputError
from posetask.evaluation.people import JOINTS, NO_ID, Numbers, People, mean_score

Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]  # what JSON's numbers hold exactly


class _Model(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True)


class _Image(_Model):
    id: Whole
    height: float | None = None


class _Category(_Model):
    id: int
    name: str = ""


class CocoPerson(_Model):
    """An annotation or a result, as far as it is read."""

    image_id: Whole
    category_id: int = 1
    bbox: tuple[float, float, float, float] | None = None
    keypoints: list[float | None] | None = None
    area: float | None = None
    score: float | None = None
    keypoint_scores: list[float] | None = None
    track_id: Whole | None = None
    visibility: float | None = None
    iscrowd: int = 0
    ignore: int = 0


class CocoDataset(_Model):
    """The parts of a COCO file that are read."""

    images: list[_Image]
    annotations: list[CocoPerson]
    categories: list[_Category] = []

    def person(self, path: Path) -> int:
        """Category id of a person: the one of that name, or the only one.

        Raises:
            InputError: There are several, and none is called person.
        """
        named = [c.id for c in self.categories if c.name.lower() in ("person", "pedestrian")]
        if not named and len(self.categories) > 1:
            raise InputError(f"{path} has no category 'person'", hint="name the category of people so")
        return (named or [c.id for c in self.categories] or [1])[0]

    def heights(self) -> Numbers:
        """Heights of the images (NaN where not given), in order of image id."""
        images = {image.id: image.height for image in self.images}
        heights = [images[image] for image in sorted(images)]
        return np.array([np.nan if height is None else height for height in heights], np.float64)


def read_dataset(path: Path) -> CocoDataset:
    """Read a COCO dataset.

    Raises:
        InputError: It is not JSON, or not COCO.
    """
    dataset: CocoDataset = _parse(TypeAdapter(CocoDataset), path, "a COCO dataset")
    return dataset


def read_results(path: Path) -> list[CocoPerson]:
    """Read a COCO list of results.

    Raises:
        InputError: It is not JSON, or not COCO.
    """
    people: list[CocoPerson] = _parse(TypeAdapter(list[CocoPerson]), path, "a list of COCO results")
    return people


def people_of(
    path: Path, annotations: Sequence[CocoPerson], person: int, frames: Mapping[int, int]
) -> People:
    """Bring the annotations of category ``person`` into columns.

    Keypoints that are missing, null, NaN, all 0, or of another skeleton than COCO's 17 are no pose.

    Args:
        path: For the messages.
        annotations: Of the file.
        person: Category id of a person.
        frames: Frame index of every image.

    Raises:
        InputError: There are annotations, but none of people; or one of an image that is not listed.
    """
    mine = [a for a in annotations if a.category_id == person]
    if annotations and not mine:
        raise InputError(
            f"{path} has no annotation of category {person} (person)",
            hint="use the truth's category ids in the predictions",
        )
    lost = [a.image_id for a in mine if a.image_id not in frames]
    if lost:
        raise InputError(
            f"{path} has annotations of image {lost[0]}, which is not among its images",
            hint="list every image of the clip under 'images'",
        )
    keypoints = np.full((len(mine), JOINTS, 3), np.nan)
    for row, annotation in enumerate(mine):
        values = annotation.keypoints
        if values and len(values) == JOINTS * 3 and any(values):
            keypoints[row] = np.array(values, np.float64).reshape(JOINTS, 3)
    return People.of(
        [frames[a.image_id] for a in mine],
        [a.bbox or (np.nan,) * 4 for a in mine],
        scores=[1.0 if a.score is None else a.score for a in mine],
        ids=[NO_ID if a.track_id is None else max(a.track_id, NO_ID) for a in mine],
        keypoints=keypoints,
        areas=[np.nan if a.area is None else a.area for a in mine],
        visible=[np.nan if a.visibility is None else a.visibility for a in mine],
        ignored=[a.ignore for a in mine],
        crowds=[a.iscrowd for a in mine],
        sure=mean_score(np.array([_keypoint_scores(a) for a in mine], np.float64).reshape(-1, JOINTS)),
    )


def _keypoint_scores(annotation: CocoPerson) -> list[float]:
    """What ``posetask run`` writes beside the flags; zeros where another tool wrote none."""
    scores = annotation.keypoint_scores or []
    return scores if len(scores) == JOINTS else [0.0] * JOINTS


def _parse(adapter: TypeAdapter[Any], path: Path, kind: str) -> Any:
    try:
        return adapter.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is not {kind}: {where + ': ' if where else ''}{first['msg']}",
            hint="see docs/evaluation.md for the formats",
        ) from error
