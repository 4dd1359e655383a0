"""From a specification to a stage that is ready to be opened: who decodes what, who writes where."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from posetask.errors import InvalidParameters
from posetask.messages import SourceInfo
from posetask.runtime.ownership import claim, owns, sweep
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages.base import Stage, StageContext, parse_parameters, registered
from posetask.stages.names import MODULES
from posetask.storage.durable import refuse_existing

if TYPE_CHECKING:
    from posetask.runtime.publish import Publisher
    from posetask.runtime.sources import Source
    from posetask.stages.annotator import AnnotatorStage
    from posetask.stages.producer import ProducerStage

# What only one of the stages needs is imported where that one is built: a process is one stage, and FFmpeg,
# Parquet and the models' libraries take longer to load than many a clip to work.


def find_stage(name: str) -> type[Stage[Any]]:
    """The stage of this name: one of the five, or one of anyone's package (group ``posetask.stages``).

    Raises:
        InvalidParameters: There is none; names those that are.
    """
    if name in MODULES:
        import_module(MODULES[name])
    elif name not in registered():
        load_stages()
    stage = registered().get(name)
    if stage is None:
        raise InvalidParameters(
            f"there is no stage {name!r}", hint=f"there are {', '.join(sorted(registered()))}"
        )
    return stage


def load_stages() -> None:
    """Declare all stages: the five, and those of anyone's packages."""
    for module in MODULES.values():
        import_module(module)
    for entry in entry_points(group="posetask.stages"):
        entry.load()


def only_source(spec: StageProcessSpec) -> Source:
    """The source that ``spec`` names.

    Raises:
        InvalidParameters: It names none, or several.
        SourceNotFound: It is not there.
    """
    from posetask.runtime.sources import resolve

    if spec.source is None:
        raise InvalidParameters(f"stage {spec.stage} needs a source", hint="set POSETASK_STAGE_SOURCE")
    found = resolve(spec.source)
    if len(found) != 1:
        raise InvalidParameters(f"{spec.source} holds {len(found)} videos", hint="a run has one source")
    return found[0]


def build_producer(spec: StageProcessSpec, context: StageContext) -> tuple[ProducerStage, SourceInfo]:
    """The producer, with its source open, and what the source says of itself.

    Raises:
        InputError: The source is refused.
    """
    from posetask.runtime.sources import open_source
    from posetask.stages.producer import ProducerStage

    parameters = parse_parameters(ProducerStage, spec.parameters)
    reader = open_source(
        only_source(spec),
        start=spec.start,
        duration=spec.duration,
        max_frames=spec.max_frames,
        frame_rate=spec.frame_rate,
    )
    return ProducerStage(parameters, context, reader), reader.info


def build_annotator(
    spec: StageProcessSpec,
    context: StageContext,
    pressed: Callable[[], bool],
    publisher: Publisher | None = None,
) -> tuple[AnnotatorStage, SourceInfo]:
    """The annotator; it takes over from an earlier process of the same run, and from no other.

    The folder of the stream carries the run's id from before anything is written: what stands at the output
    then is ours, half-published by a process that died, and is replaced; before, it is someone's, and the
    run is refused.

    Raises:
        OutputError: The output cannot be written, or is there already.
        InputError: The source is refused.
    """
    from posetask.exports import RunMetadata, check_targets, open_writers
    from posetask.runtime.outputs import check_output, picture_sink
    from posetask.runtime.sources import digest, open_source
    from posetask.stages.annotator import AnnotatorStage

    parameters = parse_parameters(AnnotatorStage, spec.parameters)
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
            source=source.name,
            source_sha256=digest(source),
            width=info.width,
            height=info.height,
            frame_rate=info.frame_rate,
        )
        exports = open_writers(stem, spec.formats, metadata, overwrite=spec.force or ours)
    if publisher is not None and sink is not None:
        from posetask.runtime.publish import PublishingSink

        sink = PublishingSink(sink, publisher)
    stage = AnnotatorStage(parameters, context, sink, exports, pressed)
    weakref.finalize(stage, _let_go, source)
    return stage, info


def _let_go(source: Source) -> None:
    """Until now the source was held: a copy of one that lies elsewhere goes with its last holder."""
