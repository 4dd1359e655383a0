"""A world as a clip: an MP4 and its truth beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from posetask.errors import InvalidParameters
from posetask.storage.durable import publish, refuse_existing, storage_errors, temporary_beside
from posetask.synth.spec import WorldSpec
from posetask.synth.truth import Truth
from posetask.synth.truthfiles import write_coco, write_mot
from posetask.synth.world import World


@dataclass(frozen=True, slots=True)
class Clip:
    """What :func:`write_clip` left.

    Attributes:
        video: The MP4.
        mot: MOTChallenge ground truth, if asked for.
        coco: COCO keypoints JSON, if asked for.
        frames: How many.
        people: Most people in one frame.
    """

    video: Path
    mot: Path | None
    coco: Path | None
    frames: int
    people: int


def truth_paths(video: Path) -> tuple[Path, Path]:
    """Where the truth of a clip lies: ``clip.gt.txt`` and ``clip.coco.json`` beside ``clip.mp4``."""
    return video.with_suffix(".gt.txt"), video.with_suffix(".coco.json")


def write_clip(
    spec: WorldSpec,
    video: Path,
    *,
    truth: bool = True,
    crf: int = 20,
    overwrite: bool = False,
    on_frame: Callable[[int], None] | None = None,
) -> Clip:
    """Render a world into an H.264 MP4 (yuv420p, faststart) and write its truth beside it.

    Nothing of it has its name before all of it is complete.

    Args:
        spec: The world; width and height must be even.
        video: The MP4 to write; the truth goes where :func:`truth_paths` says.
        truth: Write the truth too.
        crf: x264's quality, 0 to 51; less is better.
        overwrite: Replace what is there.
        on_frame: Called with the number of each frame that is done.

    Raises:
        InvalidParameters: Odd width or height.
        OutputExists: A file is there, and ``overwrite`` is False.
        StorageFull: No space left.
        OutputError: The files cannot be written.
    """
    if spec.width % 2 or spec.height % 2:
        raise InvalidParameters(
            f"H.264 needs an even size, not {spec.width}x{spec.height}", hint="for example --size 640x360"
        )
    targets = [video, *(truth_paths(video) if truth else ())]
    for path in targets:
        refuse_existing(path, overwrite=overwrite)
    parts = [temporary_beside(path) for path in targets]
    try:
        with storage_errors(video):  # av's errors are OSErrors too
            truths = _encode(spec, parts[0], crf, on_frame)
            if truth:
                write_mot(parts[1], truths)
                write_coco(parts[2], spec, truths)
        for part, path in zip(parts, targets, strict=True):
            publish(part, path, overwrite=overwrite)
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    most = max((int(np.count_nonzero(t.visible)) for t in truths), default=0)
    mot, coco = truth_paths(video) if truth else (None, None)
    return Clip(video, mot, coco, len(truths), most)


def _encode(spec: WorldSpec, path: Path, crf: int, on_frame: Callable[[int], None] | None) -> list[Truth]:
    rate = Fraction(spec.frame_rate).limit_denominator(1001)
    truths = []
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
        stream.time_base = 1 / rate
        # One thread: the same seed then gives the same file from the same encoder.
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for i, (image, truth) in enumerate(World(spec)):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = i, 1 / rate
            container.mux(stream.encode(frame))
            truths.append(truth)
            if on_frame is not None:
                on_frame(i)
        container.mux(stream.encode())
    return truths
