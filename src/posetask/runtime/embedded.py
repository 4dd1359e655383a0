"""The embedded run: the five stages in this process, over the memory bus, on one source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posetask.exports import MultiWriter, RunMetadata, check_targets, open_writers
from posetask.messages import EndOfStream, Frame, Message, SourceInfo, Tracks
from posetask.models.session import LoadedModel
from posetask.models.store import resolve_detector, resolve_pose
from posetask.runtime.join import JoinedReader
from posetask.runtime.options import RunOptions
from posetask.runtime.outputs import check_output, picture_sink
from posetask.runtime.pipeline import Pipeline
from posetask.runtime.sources import Source, digest, open_source
from posetask.runtime.summary import ModelUse, Summary
from posetask.stages.annotator import AnnotatorStage
from posetask.stages.base import P, Stage, StageContext, parse_parameters
from posetask.stages.bytetrack import BytetrackStage
from posetask.stages.names import BYTETRACK, RAW_FRAMES, RTMPOSE, YOLOX
from posetask.stages.producer import ProducerStage
from posetask.stages.rtmpose import RtmposeStage
from posetask.stages.sinks import PictureSink
from posetask.stages.yolox import YoloxStage
from posetask.telemetry import Timings, peak_rss_mib
from posetask.transport import MemoryBus, Window

CALLER = "caller"


class EmbeddedRun:
    """One source, worked in this process.

    Everything that can be refused is refused here, before any thread starts.

    Args:
        source: One of :func:`posetask.runtime.sources.resolve`'s.
        output: The MP4 (or image, or folder of images); None writes no pictures and no data.
        options: See :class:`RunOptions`.
        extra_stages: More stages, of anyone's; their inputs are topics of the pipeline.
        follow: Whether :meth:`frames` will be read; it then sets the pace.
        parameters: Of the five stages, by name, over what the options say.
        run: Id of the run.
        on_step: Told every step of work and its seconds.

    Attributes:
        stages: All of them, by name, in the order of the pipeline.

    Raises:
        PoseTaskError: The source, a model, an option or an output is refused.
    """

    def __init__(
        self,
        source: Source,
        output: Path | None,
        options: RunOptions | None = None,
        *,
        extra_stages: Sequence[type[Stage[Any]]] = (),
        follow: bool = False,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        run: str = "local",
        on_step: Callable[[str, float], None] | None = None,
    ) -> None:
        self.options = options = options or RunOptions()
        self._given = parameters or {}
        self.source = source
        self.output = output
        self._reader = open_source(
            source,
            start=options.start,
            duration=options.duration,
            max_frames=options.max_frames,
            frame_rate=options.frame_rate,
        )
        try:
            self._detector = resolve_detector(self._given.get(YOLOX, {}).get("model", options.detector_name))
            self._pose = resolve_pose(self._given.get(RTMPOSE, {}).get("model", options.pose_name))
            self.info: SourceInfo = self._reader.info
            timings = Timings(on_step)
            self._context = StageContext(run, options.device, timings=timings, source=self.info)
            self._build(extra_stages, follow)
        except BaseException:
            self._reader.close()
            raise

    def _build(self, extra_stages: Sequence[type[Stage[Any]]], follow: bool) -> None:
        o, context = self.options, self._context
        self._producer = ProducerStage(
            self._parameters(ProducerStage, "every_n", "wire_codec"), context, self._reader
        )
        self._yolox = YoloxStage(self._parameters(YoloxStage, model=o.detector_name), context, self._detector)
        self._rtmpose = RtmposeStage(self._parameters(RtmposeStage, model=o.pose_name), context, self._pose)
        tracking = ("track_thresh", "match_thresh", "track_buffer", "mot20", "every_n")
        self._bytetrack = BytetrackStage(self._parameters(BytetrackStage, *tracking), context)
        drawing = self._parameters(AnnotatorStage, "boxes", "frame_counter", "strict")
        sink, exports = self._outputs()
        self._annotator = AnnotatorStage(drawing, context, sink, exports)
        stages: list[Stage[Any]] = [
            self._producer,
            self._yolox,
            self._rtmpose,
            self._bytetrack,
            self._annotator,
        ]
        stages += [stage(stage.Parameters(), context) for stage in extra_stages]
        self.stages = {stage.name: stage for stage in stages}
        # Interpolation looks every_n frames ahead, so the pixels of as many must be held.
        self.bus = MemoryBus(Window(records=16 + 2 * o.every_n, at_least=4 + o.every_n))
        self._topics = [RAW_FRAMES, BYTETRACK, *(stage.output for stage in extra_stages if stage.output)]
        self._joined = (
            JoinedReader([self.bus.reader(topic, CALLER) for topic in self._topics]) if follow else None
        )
        self._ended = False
        self.pipeline = Pipeline(self.bus, stages)
        self._interrupted = threading.Event()
        self._started = 0.0

    def _parameters(self, stage: type[Stage[P]], *names: str, **values: Any) -> P:
        """Of a stage: what the options say, under the same names, and what is given over it."""
        said = self.options.model_dump(include=set(names)) | values
        return parse_parameters(stage, said | dict(self._given.get(stage.name, {})))

    def start(self) -> None:
        """Start all stages; returns at once."""
        self._started = time.perf_counter()
        self.pipeline.start()

    def frames(self) -> Iterator[tuple[Frame, Tracks, dict[str, Message]]]:
        """Frames with their tracks and what the extra stages said (by topic), in order, as they are ready.

        Raises:
            ValueError: The run was not made with ``follow``.
            Cancelled: A stage failed, or the run was cancelled; :meth:`wait` says which.
        """
        if self._joined is None:
            raise ValueError("make the run with follow=True to read its frames")
        while not self._ended:
            item = self._joined.get()
            if isinstance(item, EndOfStream):
                self._ended = True
            elif item is not None:
                frame, tracks, *extras = item
                if not (isinstance(frame, Frame) and isinstance(tracks, Tracks)):
                    raise TypeError(f"{RAW_FRAMES} and {BYTETRACK} carried {type(frame)} and {type(tracks)}")
                yield frame, tracks, dict(zip(self._topics[2:], extras, strict=True))

    def stop(self) -> None:
        """End early: what is under way is finished, and everything written is whole and valid."""
        self._interrupted.set()
        self._producer.stop()

    def cancel(self) -> None:
        """Give up at once: nothing is published."""
        self.pipeline.cancel()

    @property
    def frames_expected(self) -> int | None:
        """How many frames there will be, as far as the container's claims go; None if unknown."""
        return self.options.frames_expected(self.info)

    @property
    def annotated(self) -> tuple[int, int]:
        """Frames done so far, and the most people seen in one."""
        return self._annotator.counts.frames, self._annotator.counts.people

    def wait(self, timeout: float | None = None) -> Summary | None:
        """Wait for the end.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            What it came to, or None where the time passed.

        Raises:
            PoseTaskError: The first failure of any stage.
            DamagedInput: With ``strict``, frames are missing; nothing was published.
        """
        if not self.pipeline.join(timeout):
            return None
        return self._summarise(time.perf_counter() - self._started)

    def _outputs(self) -> tuple[PictureSink | None, MultiWriter | None]:
        o, output = self.options, self.output
        if output is None:
            return None, None
        check_output(output, self.source)
        stem = output.with_suffix("") if output.suffix else output
        check_targets(stem, o.formats, overwrite=o.force)
        sink: PictureSink | None = None
        if o.video:
            sink = picture_sink(
                output,
                self.source,
                self.info,
                encoder=o.encoder,
                start=o.start,
                overwrite=o.force,
                keep_stream=o.keep_stream,
                timings=self._context.timings,
            )
        metadata = RunMetadata(
            source=self.source.name,
            source_sha256=digest(self.source),
            width=self.info.width,
            height=self.info.height,
            frame_rate=self.info.frame_rate,
            detector=self._detector.spec.name,
            detector_sha256=self._detector.sha256 or "",
            pose=self._pose.spec.name,
            pose_sha256=self._pose.sha256 or "",
        )
        exports = open_writers(stem, o.formats, metadata, overwrite=o.force) if o.formats else None
        return sink, exports

    def _summarise(self, seconds: float) -> Summary:
        report, counts, pictures = self._producer.report, self._annotator.counts, self._annotator.pictures
        return Summary(
            source=self.source.name,
            output=pictures.path if pictures else None,
            exports=self._annotator.exported,
            frames_declared=self.info.frames_declared,
            frames_decoded=report.frames_decoded,
            frames_annotated=counts.frames,
            people=counts.people,
            people_per_frame=round(counts.people_sum / counts.frames, 3) if counts.frames else 0.0,
            tracks=counts.tracks,
            seconds=seconds,
            fps=counts.frames / seconds if seconds else 0.0,
            audio=pictures.audio if pictures else "",
            models={"detector": _use(self._yolox.detector.info), "pose": _use(self._rtmpose.estimator.info)},
            warnings=list(report.problems),
            interrupted=self._interrupted.is_set(),
            busy=self._context.timings.seconds(),
            cores=self._context.cores,
            peak_rss_mib=peak_rss_mib(),
        )


def _use(model: LoadedModel) -> ModelUse:
    return ModelUse(name=model.name, sha256=model.sha256, provider=model.provider)
