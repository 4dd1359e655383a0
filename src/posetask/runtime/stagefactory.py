"""From a specification to a stage that is ready to be opened: who decodes what, who writes where."""

from __future__ import annotations

import glob
import logging
import shutil
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from posetask.errors import InvalidParameters
from posetask.exports import RunMetadata, check_targets, open_writers
from posetask.media.inputs import Source, open_source, resolve
from posetask.messages import SourceInfo
from posetask.runtime.outputs import check_output, picture_sink
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages import Stage, StageContext, annotator, bytetrack, producer, rtmpose, yolox
from posetask.stages.base import parse_parameters, registered
from posetask.stages.sinks import stream_folder
from posetask.storage.durable import refuse_existing, storage_errors, write_durably

logger = logging.getLogger(__name__)

STAGES = (producer, yolox, rtmpose, bytetrack, annotator)
"""Modules of the five stages, in the order of the pipeline; importing them declares the stages."""
OWNER, RESULT = "run.id", "result.json"


def find_stage(name: str) -> type[Stage[Any]]:
    """The stage of this name: one of the five, or one of anyone's package (group ``posetask.stages``).

    Raises:
        InvalidParameters: There is none; names those that are.
    """
    if name not in registered():
        for entry in entry_points(group="posetask.stages"):
            entry.load()
    stage = registered().get(name)
    if stage is None:
        raise InvalidParameters(
            f"there is no stage {name!r}", hint=f"there are {', '.join(sorted(registered()))}"
        )
    return stage


def only_source(spec: StageProcessSpec) -> Source:
    """The source that ``spec`` names.

    Raises:
        InvalidParameters: It names none, or several.
        SourceNotFound: It is not there.
    """
    if spec.source is None:
        raise InvalidParameters(f"stage {spec.stage} needs a source", hint="set POSETASK_STAGE_SOURCE")
    found = resolve(spec.source)
    if len(found) != 1:
        raise InvalidParameters(f"{spec.source} holds {len(found)} videos", hint="a run has one source")
    return found[0]


def build_producer(
    spec: StageProcessSpec, context: StageContext
) -> tuple[producer.ProducerStage, SourceInfo]:
    """The producer, with its source open, and what the source says of itself.

    Raises:
        InputError: The source is refused.
    """
    parameters = parse_parameters(producer.ProducerStage, spec.parameters)
    reader = open_source(
        only_source(spec),
        start=spec.start,
        duration=spec.duration,
        max_frames=spec.max_frames,
        frame_rate=spec.frame_rate,
    )
    return producer.ProducerStage(parameters, context, reader), reader.info


def build_annotator(
    spec: StageProcessSpec, context: StageContext, pressed: Callable[[], bool]
) -> tuple[annotator.AnnotatorStage, SourceInfo]:
    """The annotator; it takes over from an earlier process of the same run, and from no other.

    The folder of the stream carries the run's id from before anything is written: what stands at the output
    then is ours, half-published by a process that died, and is replaced; before, it is someone's, and the
    run is refused.

    Raises:
        OutputError: The output cannot be written, or is there already.
        InputError: The source is refused.
    """
    parameters = parse_parameters(annotator.AnnotatorStage, spec.parameters)
    source = only_source(spec)
    with open_source(source, start=spec.start, frame_rate=spec.frame_rate) as opened:
        info = opened.info
    if spec.output is None:
        raise InvalidParameters("the annotator needs an output", hint="set POSETASK_STAGE_OUTPUT")
    ours = owns(spec.output, spec.run)
    check_output(spec.output, source)
    stem = spec.output.with_suffix("")
    targets = check_targets(stem, spec.formats, overwrite=spec.force or ours)
    if spec.video:
        refuse_existing(spec.output, overwrite=spec.force or ours)
    if ours:
        sweep([spec.output, *targets.values()])
    else:
        claim(spec.output, spec.run)
    sink = None
    if spec.video:
        sink = picture_sink(
            spec.output,
            source,
            info,
            encoder=spec.encoder,
            start=spec.start,
            overwrite=spec.force or ours,
            timings=context.timings,
            resumable=True,
        )
    exports = None
    if spec.formats:
        metadata = spec.metadata or RunMetadata(
            source=source.name, width=info.width, height=info.height, frame_rate=info.frame_rate
        )
        exports = open_writers(stem, spec.formats, metadata, overwrite=spec.force or ours)
    return annotator.AnnotatorStage(parameters, context, sink, exports, pressed), info


def owns(output: Path, run: str) -> bool:
    """Whether the stream's folder beside ``output`` is of this run."""
    with storage_errors(stream_folder(output)):
        try:
            return (stream_folder(output) / OWNER).read_text() == run
        except (FileNotFoundError, NotADirectoryError):
            return False


def claim(output: Path, run: str) -> None:
    """Make the stream's folder this run's; what another left there is removed."""
    folder = stream_folder(output)
    shutil.rmtree(folder, ignore_errors=True)
    with storage_errors(folder):
        folder.mkdir(parents=True)
    write_durably(folder / OWNER, run.encode())


def release(output: Path, run: str) -> None:
    """The run is over: remove the stream's folder, where it is this run's."""
    if owns(output, run):
        shutil.rmtree(stream_folder(output), ignore_errors=True)


def sweep(targets: list[Path]) -> None:
    """Remove the unfinished files of a process that died."""
    for target in targets:
        for stale in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
            logger.info("removing %s, left by a process that died", stale)
            stale.unlink(missing_ok=True)
