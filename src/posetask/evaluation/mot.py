"""MOTChallenge text: ``frame, id, left, top, width, height, conf, class, visibility``, frames from 1.

https://arxiv.org/abs/1603.00831, section 3.3. Result files have the same first six columns, a confidence,
and -1 in the rest.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from posetask.errors import InputError
from posetask.evaluation.people import NO_ID, Numbers, People

PEDESTRIAN = 1
# On a vehicle, static, distractor, reflection: looks like a person, so that hits do not count against one.
PERSON_LIKE = (2, 7, 8, 12)


def read_mot_predictions(path: Path) -> People:
    """Read result rows; a row whose id is negative has no identity (a detection).

    Where every confidence is -1 (not given), or the column is missing, all scores are 1.

    Raises:
        InputError: The file is not MOT text.
    """
    rows = _read(path)
    scores = rows[:, 6] if rows.shape[1] > 6 else np.ones(len(rows))
    return People.of(
        rows[:, 0] - 1,
        rows[:, 2:6],
        ids=np.where(rows[:, 1] < 0, NO_ID, rows[:, 1]),
        scores=np.ones(len(rows)) if (scores == -1).all() else scores,
    )


def read_mot_truth(path: Path) -> People:
    """Read ``gt.txt``: pedestrians count, unless their ``conf`` is 0.

    Pedestrians with conf 0 and the person-like classes (2, 7, 8, 12) are ignored; other classes are left
    out. A class of -1, or no such column, is a pedestrian.

    Raises:
        InputError: The file is not MOT text.
    """
    rows = _read(path)
    n, columns = rows.shape
    kind = rows[:, 7] if columns > 7 else np.full(n, PEDESTRIAN)
    pedestrian = (kind == PEDESTRIAN) | (kind == -1)
    considered = rows[:, 6] != 0 if columns > 6 else np.ones(n, bool)
    visible = rows[:, 8] if columns > 8 else np.full(n, np.nan)
    people = People.of(
        rows[:, 0] - 1,
        rows[:, 2:6],
        ids=np.where(rows[:, 1] < 0, NO_ID, rows[:, 1]),
        visible=np.where(visible < 0, np.nan, visible),
        ignored=~(pedestrian & considered),
    )
    return people.take(pedestrian | np.isin(kind, PERSON_LIKE))


def _read(path: Path) -> Numbers:
    hint = "rows are frame,id,left,top,width,height,conf,... with frames from 1"
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            return np.zeros((0, 10))
        rows = np.loadtxt(io.StringIO(text), delimiter="," if "," in text else None, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path} is not MOT text: {str(error).rstrip('.')}", hint=hint) from error
    if rows.shape[1] < 6:
        raise InputError(f"{path} has {rows.shape[1]} columns, MOT text at least 6", hint=hint)
    whole = (np.round(rows[:, :2]) == rows[:, :2]) & (np.abs(rows[:, :2]) <= 2**53)
    good = np.isfinite(rows[:, :7]).all(axis=1) & whole.all(axis=1) & (rows[:, 0] >= 1)
    if not good.all():
        raise InputError(f"{path}, row {int(np.argmin(good)) + 1}: not a MOT row", hint=hint)
    return rows
