"""Times supervision's and trackers' ByteTrack on one stream; run by an interpreter that has them.

They get our thresholds where they have such. Their Detections objects are made before the clock starts.
Prints one JSON line; a peer that is not installed is left out.
"""

import contextlib
import importlib.metadata
import json
import sys
import time
import warnings

import numpy as np

warnings.simplefilter("ignore")  # supervision announces that its ByteTrack moves to trackers
stored = np.load(sys.argv[1])
ends = stored["ends"].tolist()
slices = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
found = {}


def run(name: str, update) -> None:
    import supervision as sv

    feed = [
        sv.Detections(
            xyxy=stored["xyxy"][rows],
            confidence=stored["score"][rows],
            class_id=np.zeros(rows.stop - rows.start, int),
        )
        for rows in slices
    ]
    times, ids = [], set()
    for detections in feed:
        began = time.perf_counter()
        out = update(detections)
        times.append((time.perf_counter() - began) * 1e3)
        ids.update(i for i in out.tracker_id.tolist() if i >= 0)
    found[name] = {"version": importlib.metadata.version(name), "ms": times, "tracks": len(ids)}


with contextlib.suppress(ImportError, AttributeError):
    from supervision import ByteTrack

    tracker = ByteTrack(
        track_activation_threshold=0.6, lost_track_buffer=30, minimum_matching_threshold=0.9, frame_rate=30
    )
    run("supervision", tracker.update_with_detections)
with contextlib.suppress(ImportError):
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(
        lost_track_buffer=30,
        frame_rate=30.0,
        track_activation_threshold=0.7,
        high_conf_det_threshold=0.6,
        minimum_iou_threshold=0.1,
    )
    run("trackers", tracker.update)
print(json.dumps(found))
