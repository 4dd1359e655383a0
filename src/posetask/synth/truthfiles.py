"""Writes truth in the formats that scorers read: MOTChallenge text and COCO keypoints JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posetask.messages import COCO_17
from posetask.synth.spec import WorldSpec
from posetask.synth.truth import Truth


def mot_lines(truths: Sequence[Truth]) -> list[str]:
    """MOTChallenge ground truth: frame (from 1), id, left, top, width, height, flag, class, visibility.

    The flag is 1 where a person counts: at least a tenth is visible. The class is 1, pedestrian.
    """
    lines = []
    for truth in truths:
        for n in range(len(truth)):
            x0, y0, x1, y1 = (float(v) for v in truth.boxes[n])
            lines.append(
                f"{truth.frame + 1},{truth.ids[n]},{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f},"
                f"{int(truth.visible[n])},1,{truth.visibility[n]:.3f}"
            )
    return lines


def coco_document(spec: WorldSpec, truths: Sequence[Truth], file_name: str = "{:06d}.jpg") -> dict[str, Any]:
    """COCO keypoints JSON; image id = frame number + 1, and ``track_id`` beside each annotation.

    Keypoints outside the picture are 0, 0, 0, as COCO has it. A person of whom less than a tenth is
    visible is ``iscrowd`` 1 with a rectangle as its segmentation, so that scorers neither ask for nor
    punish it. ``visibility`` is an addition of ours.

    Args:
        spec: The world.
        truths: Of its frames.
        file_name: Format of an image's name from the frame number.
    """
    images = [
        {
            "id": t.frame + 1,
            "file_name": file_name.format(t.frame),
            "width": spec.width,
            "height": spec.height,
        }
        for t in truths
    ]
    annotations: list[dict[str, Any]] = []
    for truth in truths:
        for n in range(len(truth)):
            x0, y0, x1, y1 = (round(float(v), 2) for v in truth.boxes[n])
            points = np.where(truth.keypoints[n, :, 2:] > 0, truth.keypoints[n], 0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": truth.frame + 1,
                    "category_id": 1,
                    "track_id": int(truth.ids[n]),
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "area": float(truth.areas[n]),
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                    "iscrowd": int(not truth.visible[n]),
                    "keypoints": [round(float(v), 2) for v in points.reshape(-1)],
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                    "visibility": round(float(truth.visibility[n]), 4),
                }
            )
    return {
        "info": {"description": "PoseTask synthetic world", "world": spec.model_dump(mode="json")},
        "images": images,
        "annotations": annotations,
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(COCO_17.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in COCO_17.links],
            }
        ],
    }


def write_mot(path: Path, truths: Sequence[Truth]) -> None:
    """Write :func:`mot_lines`."""
    path.write_text("".join(line + "\n" for line in mot_lines(truths)), encoding="ascii")


def write_coco(path: Path, spec: WorldSpec, truths: Sequence[Truth]) -> None:
    """Write :func:`coco_document`."""
    path.write_text(json.dumps(coco_document(spec, truths)) + "\n", encoding="utf-8")
