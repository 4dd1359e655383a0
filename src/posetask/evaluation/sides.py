"""The two sides of a comparison, each in three parts: boxes, poses, tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from posetask.errors import InvalidParameters
from posetask.evaluation.people import NO_ID, Ids, Numbers, People

Part = Literal["boxes", "poses", "tracks"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a detector, a pose estimator or a tracker says.

    Attributes:
        parts: ``boxes`` (people with a box; scored by AP, precision and recall), ``poses`` (people with a
            pose; OKS-AP) and ``tracks`` (people with an identity and a box; MOTA, IDF1, HOTA), as far as
            the files say anything of them.
        absent: Why a part is missing.
    """

    parts: Mapping[Part, People]
    absent: Mapping[Part, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is true.

    Attributes:
        parts: As in the predictions. ``poses`` also holds the people whose keypoints are not labelled
            (they are ignored), and each part holds what is to be ignored, marked so.
        absent: Why a part is missing.
        frames: ``(F,)``, the frames that were annotated, with or without people, ascending; None = all
            of them. Predictions in other frames are left out.
        heights: ``(F,)``, pixels, of those frames; NaN where unknown.
        person: COCO's category id of a person.
        images: Frame index of every COCO image id; for predictions that go by image id.
    """

    parts: Mapping[Part, People]
    absent: Mapping[Part, str] = field(default_factory=dict)
    frames: Ids | None = None
    heights: Numbers | None = None
    person: int = 1
    images: Mapping[int, int] = field(default_factory=dict)


def join_clips(clips: Sequence[tuple[Truth, Predictions]]) -> tuple[Truth, Predictions]:
    """Several clips as one, to be scored together: the frames and identities of each are set apart.

    A clip's tracks never meet another's, so MOTA, IDF1 and HOTA come out as benchmarks combine their
    sequences. A part that one clip lacks is left out of the whole.

    Raises:
        InvalidParameters: There are no clips.
    """
    if not clips:
        raise InvalidParameters("there is no clip to score", hint="give at least one truth with predictions")
    truths: list[Truth] = []
    predictions: list[Predictions] = []
    frame = identity = 0
    for truth, predicted in clips:
        tables = [*truth.parts.values(), *predicted.parts.values()]
        annotated = None if truth.frames is None else truth.frames + frame
        truths.append(replace(truth, parts=_moved(truth.parts, frame, identity), frames=annotated))
        predictions.append(replace(predicted, parts=_moved(predicted.parts, frame, identity)))
        seen = [table.frames for table in tables] + ([] if truth.frames is None else [truth.frames])
        frame += 1 + max((int(frames.max()) for frames in seen if len(frames)), default=0)
        identity += 1 + max((int(table.ids.max()) for table in tables if len(table)), default=0)
    frames = [t.frames for t in truths if t.frames is not None]
    heights = [t.heights for t in truths if t.heights is not None]
    joined = Truth(
        _concatenated([t.parts for t in truths]),
        _reasons([t.absent for t in truths]),
        frames=np.concatenate(frames) if len(frames) == len(truths) else None,
        heights=np.concatenate(heights) if len(heights) == len(frames) == len(truths) else None,
        person=truths[0].person,
    )
    return joined, Predictions(
        _concatenated([p.parts for p in predictions]), _reasons([p.absent for p in predictions])
    )


def _moved(parts: Mapping[Part, People], frame: int, identity: int) -> dict[Part, People]:
    return {
        name: replace(
            table, frames=table.frames + frame, ids=np.where(table.has_id, table.ids + identity, NO_ID)
        )
        for name, table in parts.items()
    }


def _concatenated(clips: Sequence[Mapping[Part, People]]) -> dict[Part, People]:
    return {
        name: People.concatenate([parts[name] for parts in clips])
        for name in PARTS
        if all(name in parts for parts in clips)
    }


def _reasons(clips: Sequence[Mapping[Part, str]]) -> dict[Part, str]:
    return {name: reason for absent in reversed(clips) for name, reason in absent.items()}
