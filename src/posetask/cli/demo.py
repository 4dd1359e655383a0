"""``posetask demo``: the whole pipeline on a rendered clip, checked against exact truth; needs no network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from posetask.cli.console import INTERRUPTED, err, out
from posetask.cli.report import show_summary
from posetask.cli.run import run_one
from posetask.drawing.strip import strip
from posetask.errors import NotAvailable
from posetask.evaluation import ScoreOptions, load_predictions, load_truth, score
from posetask.media.decode import VideoReader
from posetask.media.inputs import resolve
from posetask.runtime.options import RunOptions
from posetask.runtime.summary import Summary
from posetask.stages.sinks import encode_image
from posetask.storage.durable import storage_errors, write_durably
from posetask.synth.clip import Clip, write_clip
from posetask.synth.spec import CameraMotion, Place, WorldSpec

STRIP_PICTURES = 4


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="where the results go")
    ] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="another seed, another scene")] = 21,
    people: Annotated[int, typer.Option(help="how many live in the scene")] = 4,
    frames: Annotated[int, typer.Option(help="length of the clip")] = 150,
) -> None:
    """Render synthetic people, find, pose and track them with the bundled models, compare with the truth."""
    started = time.perf_counter()
    with storage_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    spec = WorldSpec(
        seed=seed,
        people=people,
        frames=frames,
        width=960,
        height=540,
        camera=CameraMotion.STILL,
        place=Place.STREET,
    )
    with err.status("rendering the clip"):
        clip = write_clip(spec, output / "scene.mp4", overwrite=True)
    [source] = resolve(clip.video)
    summary = run_one(source, output / "annotated.mp4", RunOptions(models="demo", force=True))
    show_summary(out, summary)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    picture = write_strip(output / "annotated.mp4", output / "strip.png")
    out.print(f"picture  {picture}", soft_wrap=True)
    out.print(f"truth    {accuracy(clip, summary)}", soft_wrap=True)
    out.print(
        f"done in {time.perf_counter() - started:.0f} s; these models know synthetic people only",
        soft_wrap=True,
    )
    out.print("next: posetask models pull, then posetask run YOUR.mp4", soft_wrap=True)


def accuracy(clip: Clip, summary: Summary) -> str:
    """How the run compares with the clip's truth, in a line; people nearly hidden or tiny are left out."""
    truths = [path for path in (clip.coco, clip.mot) if path is not None]
    try:
        truth = load_truth(*truths)
        scores = score(truth, load_predictions([summary.exports["parquet"]], truth), ScoreOptions.easy())
    except NotAvailable as error:
        return str(error)
    parts = []
    if scores.detection:
        parts.append(f"AP50 {scores.detection.ap50:.3f}")
    if scores.pose:
        parts.append(f"OKS-AP {scores.pose.oks_ap:.3f}")
    if scores.tracking:
        t = scores.tracking
        parts.append(f"MOTA {t.mota:.3f}, IDF1 {t.idf1:.3f}, HOTA {t.hota:.3f}")
    return ", ".join(parts)


def write_strip(video: Path, target: Path) -> Path:
    """A few frames of ``video``, evenly apart, side by side in one PNG."""
    with VideoReader(video) as reader:
        total = reader.info.frames_declared or STRIP_PICTURES
        wanted = {round((i + 0.5) * total / STRIP_PICTURES) for i in range(STRIP_PICTURES)}
        chosen = [frame.image for index, frame in enumerate(reader) if index in wanted]
    write_durably(target, encode_image(strip(chosen), ".png"))
    return target
