"""``posetask render``: draw a result again, without inference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from posetask.cli.console import err, out
from posetask.cli.progress import reporter
from posetask.errors import InvalidParameters
from posetask.exports import read_poses
from posetask.media.encodersettings import EncoderSettings
from posetask.media.inputs import open_source, resolve
from posetask.runtime.outputs import check_output, picture_sink
from posetask.runtime.pipeline import Pipeline
from posetask.stages.annotator import AnnotatorParameters, AnnotatorStage
from posetask.stages.base import Stage, StageContext
from posetask.stages.producer import ProducerParameters, ProducerStage
from posetask.stages.replay import ReplayParameters, ReplayStage
from posetask.transport import MemoryBus

POLL_SECONDS = 0.1


def render(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="the source of the run")],
    poses: Annotated[Path, typer.Argument(metavar="POSES.parquet", help="its poses")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="the MP4 to write")],
    start: Annotated[float, typer.Option(help="as in the run: seconds that were skipped")] = 0.0,
    boxes: Annotated[bool, typer.Option("--boxes", help="draw boxes")] = False,
    ids: Annotated[bool, typer.Option("--ids/--no-ids", help="draw ids")] = True,
    frame_counter: Annotated[bool, typer.Option("--frame-counter", help="draw frame numbers")] = False,
    keypoint_threshold: Annotated[float, typer.Option(help="keypoints below are not drawn")] = 0.3,
    force: Annotated[bool, typer.Option("--force", help="replace an existing output")] = False,
) -> None:
    """Draw POSES on VIDEO again: other options, no inference."""
    sources = resolve(video)
    if len(sources) != 1:
        raise InvalidParameters(f"{video} holds {len(sources)} videos", hint="render them one by one")
    table = read_poses(poses)
    check_output(output, sources[0])
    with open_source(sources[0], start=start) as reader:
        info = reader.info
        if (info.width, info.height) != (table.metadata.width, table.metadata.height):
            raise InvalidParameters(
                f"{poses} is of a video of {table.metadata.width}x{table.metadata.height}, "
                f"{video} has {info.width}x{info.height}",
                hint="give the video that the run was made of",
            )
        context = StageContext(source=info)
        sink = picture_sink(
            output,
            sources[0],
            info,
            encoder=EncoderSettings(),
            start=start,
            overwrite=force,
            timings=context.timings,
        )
        look = AnnotatorParameters(
            boxes=boxes, ids=ids, frame_counter=frame_counter, keypoint_threshold=keypoint_threshold
        )
        annotator = AnnotatorStage(look, context, sink, None)
        stages: list[Stage[Any]] = [
            ProducerStage(ProducerParameters(), context, reader),
            ReplayStage(ReplayParameters(poses=poses), context),
            annotator,
        ]
        pipeline = Pipeline(MemoryBus(), stages)
        with reporter(err, sources[0].name, info.frames_declared) as progress:
            pipeline.start()
            while not pipeline.join(POLL_SECONDS):
                progress.update(annotator.counts.frames, annotator.counts.people)
    counts = annotator.counts
    out.print(f"{output}: {counts.frames} frames, {counts.tracks} tracks", soft_wrap=True)
