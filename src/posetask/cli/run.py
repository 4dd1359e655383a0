"""``posetask run``: videos or images in, annotated videos and data out."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import cv2
import typer

from posetask.cli.console import INTERRUPTED, err, out, show_error
from posetask.cli.progress import reporter
from posetask.cli.report import show_summary
from posetask.errors import InvalidParameters, NotAvailable, PoseTaskError
from posetask.exports import FORMATS
from posetask.runtime.embedded import EmbeddedRun
from posetask.runtime.options import RunOptions, default_output
from posetask.runtime.replicas import parse_replicas
from posetask.runtime.sources import Source, resolve
from posetask.runtime.summary import Summary
from posetask.storage.durable import storage_errors

POLL_SECONDS = 0.1
"""Between two looks at the progress; also how long Ctrl-C may wait to be seen."""


def run(
    source: Annotated[str, typer.Argument(metavar="IN", help="video, image, folder, glob or synth:…")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="the MP4 (or image); a folder for several inputs"),
    ] = None,
    detector: Annotated[str | None, typer.Option(help="detector: catalogue name or path of an .onnx")] = None,
    pose: Annotated[str | None, typer.Option(help="pose model: catalogue name or path of an .onnx")] = None,
    models: Annotated[
        str | None, typer.Option(help="a named pair; 'demo' knows synthetic people only")
    ] = None,
    every_n: Annotated[int, typer.Option(help="analyse every Nth frame, interpolate between")] = 1,
    start: Annotated[float, typer.Option(help="seconds of the source to skip")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="seconds to work on")] = None,
    max_frames: Annotated[int | None, typer.Option(help="stop after so many frames")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    formats: Annotated[
        str, typer.Option(help="data files to write, comma-separated; '' for none")
    ] = ",".join(FORMATS),
    video: Annotated[bool, typer.Option("--video/--no-video", help="write the annotated video")] = True,
    boxes: Annotated[bool, typer.Option("--boxes", help="draw boxes")] = False,
    frame_counter: Annotated[bool, typer.Option("--frame-counter", help="draw frame numbers")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="fail on a damaged source")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace existing outputs")] = False,
    keep_stream: Annotated[
        bool, typer.Option("--keep-stream", help="leave the HLS stream beside the MP4")
    ] = False,
    wire_codec: Annotated[
        str | None, typer.Option(help="pass frames through the wire's codec, e.g. jpeg:90")
    ] = None,
    track_thresh: Annotated[float, typer.Option(help="ByteTrack: detections above are matched first")] = 0.6,
    match_thresh: Annotated[float, typer.Option(help="ByteTrack: largest cost of a first match")] = 0.9,
    track_buffer: Annotated[
        int, typer.Option(help="ByteTrack: a lost track lives so long, frames at 30 fps")
    ] = 30,
    mot20: Annotated[bool, typer.Option("--mot20", help="ByteTrack: do not weigh matches by score")] = False,
    frame_rate: Annotated[float, typer.Option(help="of a sequence of images")] = 25.0,
    kafka: Annotated[
        str | None,
        typer.Option(metavar="BROKER", help="five processes over this Kafka, host:port (POSETASK_KAFKA_*)"),
    ] = None,
    replicas: Annotated[
        str, typer.Option(metavar="STAGE=N,…", help="with --kafka: several processes of yolox and rtmpose")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Find, pose and track the people in IN; leave an annotated video and data."""
    try:
        options = RunOptions.parse(
            {
                "detector": detector,
                "pose": pose,
                "models": models,
                "every_n": every_n,
                "start": start,
                "duration": duration,
                "max_frames": max_frames,
                "device": device,
                "formats": tuple(name.strip() for name in formats.split(",") if name.strip()),
                "video": video,
                "boxes": boxes,
                "frame_counter": frame_counter,
                "strict": strict,
                "force": force,
                "keep_stream": keep_stream,
                "wire_codec": wire_codec,
                "track_thresh": track_thresh,
                "match_thresh": match_thresh,
                "track_buffer": track_buffer,
                "mot20": mot20,
                "frame_rate": frame_rate,
            }
        )
        processes = parse_replicas(replicas)
        if processes and kafka is None:
            raise InvalidParameters(
                "replicas are processes of their own, and need a broker between them",
                hint="add --kafka HOST:PORT, or leave --replicas away",
            )
        sources = resolve(source)
        outputs = plan_outputs(sources, output)
    except PoseTaskError as error:
        raise typer.Exit(show_error(error, as_json=as_json)) from None
    code = 0
    for one, target in zip(sources, outputs, strict=True):
        try:
            summary = run_one(one, target, options, kafka, processes)
        except PoseTaskError as error:
            failed = show_error(error, as_json=as_json)
            code = code or failed
            continue
        _show(summary, as_json)
        if summary.interrupted:
            code = INTERRUPTED
            break
    raise typer.Exit(code)


def plan_outputs(sources: list[Source], output: Path | None) -> list[Path]:
    """Where each source's result goes.

    Raises:
        InvalidParameters: Several sources and a file as output, or two sources of the same name.
    """
    if len(sources) == 1:
        only = sources[0]
        target = output or default_output(only.name, only.kind)
        if only.kind == "video" and target.is_dir():
            target = target / default_output(only.name, only.kind).name
        return [target]
    folder = output or Path("posetask-out")
    if folder.suffix and not folder.is_dir():
        raise InvalidParameters(f"{len(sources)} inputs do not fit into {folder}", hint="give a folder as -o")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / default_output(source.name, source.kind).name for source in sources]
    twice = {target.name for target in targets if targets.count(target) > 1}
    if twice:
        raise InvalidParameters(
            f"several inputs would become {', '.join(sorted(twice))}", hint="run them one by one with -o"
        )
    return targets


def run_one(
    source: Source,
    output: Path,
    options: RunOptions,
    kafka: str | None = None,
    replicas: Mapping[str, int] | None = None,
) -> Summary:
    """Work one source, with progress on standard error; Ctrl-C ends it early, a second one at once.

    Args:
        source: What to work on.
        output: Where the result goes.
        options: Of the run.
        kafka: Bootstrap servers, for a run over Kafka; None keeps it all in this process.
        replicas: Processes of a stage that shall have more than one, over Kafka.

    Raises:
        PoseTaskError: The run failed; nothing was published.
    """
    running: _Running
    cv2.setNumThreads(1)  # every core has a worker already; OpenCV's own pool would only get in the way
    if kafka is None:
        running = EmbeddedRun(source, output, options)
    else:
        running = _distributed(source, output, options, kafka, replicas or {})
    total = running.frames_expected
    with _interruptible(running), reporter(err, source.name, total) as progress:
        running.start()
        while (summary := running.wait(POLL_SECONDS)) is None:
            progress.update(*running.annotated)
        return summary


class _Running(Protocol):
    """A run of either kind."""

    @property
    def frames_expected(self) -> int | None: ...

    @property
    def annotated(self) -> tuple[int, int]: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def cancel(self) -> None: ...

    def wait(self, timeout: float | None = None) -> Summary | None: ...


def _distributed(
    source: Source, output: Path, options: RunOptions, kafka: str, replicas: Mapping[str, int]
) -> _Running:
    try:
        from posetask.runtime.distributed import DistributedRun
        from posetask.transport.kafka.settings import KafkaSettings
    except ModuleNotFoundError as error:
        raise NotAvailable(f"{error.name} is not installed", hint="install posetask[kafka]") from None
    settings = KafkaSettings.from_environment({**os.environ, "POSETASK_KAFKA": kafka})
    return DistributedRun(source, output, options, settings, replicas=replicas)


@contextmanager
def _interruptible(running: _Running) -> Iterator[None]:
    asked = 0

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked += 1
        running.stop() if asked == 1 else running.cancel()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(summary: Summary, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(summary.model_dump(mode="json")) + "\n")
        sys.stdout.flush()
    else:
        show_summary(out, summary)
