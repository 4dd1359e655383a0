"""MOTA and IDF1 by motmetrics, HOTA by motrics, and what became of every true person.

CLEAR-MOT: Bernardin and Stiefelhagen 2008; identity metrics: Ristani et al. 2016; HOTA: Luiten et al.
2020 (https://doi.org/10.1007/s11263-020-01375-2). motrics reproduces TrackEval's HOTA; TrackEval itself
would bring in opencv-python, which must not be installed beside opencv-python-headless.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from posetask.evaluation.libraries import library
from posetask.evaluation.overlap import FramePair
from posetask.evaluation.scores import HotaCurve, Span, Switch, TrackingScores

CLEAR_METRICS = [
    "mota",
    "motp",
    "idf1",
    "idp",
    "idr",
    "num_switches",
    "num_fragmentations",
    "num_false_positives",
    "num_misses",
    "mostly_tracked",
    "partially_tracked",
    "mostly_lost",
]


def score_tracks(frames: Sequence[FramePair], match_iou: float) -> TrackingScores:
    """Score tracks in frames that hold at least one true person.

    Raises:
        NotAvailable: motmetrics or motrics is missing.
    """
    motmetrics = library("motmetrics")
    accumulator = motmetrics.MOTAccumulator(auto_id=False)
    for pair in frames:
        distance = np.where(pair.iou >= match_iou, 1 - pair.iou, np.nan)
        accumulator.update(pair.truth_ids, pair.ids, distance, frameid=pair.frame)
    row = motmetrics.metrics.create().compute(accumulator, metrics=CLEAR_METRICS).iloc[0]
    hota = library("motrics").compute_hota(
        [pair.truth_ids.tolist() for pair in frames],
        [pair.truth_xywh.tolist() for pair in frames],
        [pair.ids.tolist() for pair in frames],
        [pair.xywh.tolist() for pair in frames],
        box_format="xywh",
    )
    spans, switched, alarms = _story(accumulator.mot_events)
    share = {name: _share(row[name]) for name in ("motp", "idf1", "idp", "idr")}
    return TrackingScores(
        mota=float(row["mota"]),
        motp=None if share["motp"] is None else 1 - share["motp"],  # motmetrics gives a distance
        idf1=share["idf1"] or 0.0,
        idp=share["idp"],
        idr=share["idr"] or 0.0,
        hota=hota.hota,
        deta=hota.deta,
        assa=hota.assa,
        loca=hota.loca,
        switches=int(row["num_switches"]),
        fragmentations=int(row["num_fragmentations"]),
        false_alarms=int(row["num_false_positives"]),
        missed=int(row["num_misses"]),
        mostly_tracked=int(row["mostly_tracked"]),
        partially_tracked=int(row["partially_tracked"]),
        mostly_lost=int(row["mostly_lost"]),
        truth_ids=len(np.unique(np.concatenate([pair.truth_ids for pair in frames]))),
        predicted_ids=len(np.unique(np.concatenate([pair.ids for pair in frames]))),
        curve=HotaCurve(
            alpha=tuple(hota.alphas),
            hota=tuple(hota.hota_alphas),
            deta=tuple(hota.deta_alphas),
            assa=tuple(hota.assa_alphas),
        ),
        spans=spans,
        switched=switched,
        alarms=alarms,
    )


def _share(value: float) -> float | None:
    return None if math.isnan(value) else min(max(float(value), 0.0), 1.0)


def _story(events: Any) -> tuple[tuple[Span, ...], tuple[Switch, ...], tuple[tuple[int, int], ...]]:
    """Read motmetrics' event table: who was matched to whom, frame by frame."""
    columns = events.reset_index()
    told = zip(columns["FrameId"], columns["Type"], columns["OId"], columns["HId"], strict=True)
    order = {frame: i for i, frame in enumerate(sorted(set(columns["FrameId"].tolist())))}
    spans: dict[int, list[Span]] = {}
    switched: list[Switch] = []
    alarms: dict[int, int] = {}
    known: dict[int, int] = {}
    for frame, kind, truth_id, predicted_id in told:
        if kind == "FP":
            alarms[frame] = alarms.get(frame, 0) + 1
        if kind not in ("MATCH", "SWITCH", "MISS"):
            continue
        person = int(truth_id)
        answer = None if kind == "MISS" else int(predicted_id)
        if kind == "SWITCH" and answer is not None:
            switched.append(Switch(frame=frame, truth_id=person, before=known[person], after=answer))
        if answer is not None:
            known[person] = answer
        mine = spans.setdefault(person, [])
        if mine and mine[-1].predicted_id == answer and order[mine[-1].last] + 1 == order[frame]:
            mine[-1] = mine[-1].model_copy(update={"last": frame})
        else:
            mine.append(Span(truth_id=person, first=frame, last=frame, predicted_id=answer))
    return (
        tuple(span for person in sorted(spans) for span in spans[person]),
        tuple(switched),
        tuple(sorted(alarms.items())),
    )
