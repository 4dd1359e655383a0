"""``posetask track``: the tracker alone, on anyone's detections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from posetask.cli.console import err, out
from posetask.errors import InvalidParameters
from posetask.tracking.files import check_output, read_detections, write_tracks
from posetask.tracking.parameters import REFERENCE_FRAME_RATE, parse_parameters
from posetask.tracking.stream import DetectionStream, TrackStream, track_stream


def track(
    detections: Annotated[
        Path,
        typer.Argument(metavar="DETECTIONS", help="MOT det.txt, or an .npz with frame, xyxy and score"),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="TRACKS",
            help=".txt for MOT text, .npz for frame, id, tlwh, score, det_index",
        ),
    ],
    frame_rate: Annotated[
        float, typer.Option(help="frames per second of the detections")
    ] = REFERENCE_FRAME_RATE,
    track_thresh: Annotated[float, typer.Option(help="detections above are matched first")] = 0.6,
    match_thresh: Annotated[float, typer.Option(help="largest cost of a first match")] = 0.9,
    track_buffer: Annotated[int, typer.Option(help="a lost track lives so many frames at 30 fps")] = 30,
    mot20: Annotated[
        bool, typer.Option("--mot20", help="do not weigh IoU with scores (dense crowds)")
    ] = False,
    frames: Annotated[
        int | None, typer.Option(help="frames of the stream, if it goes on after its last detection")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace TRACKS if it is there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Give detections identities with ByteTrack; no video is needed."""
    parameters = parse_parameters(
        {
            "frame_rate": frame_rate,
            "track_thresh": track_thresh,
            "match_thresh": match_thresh,
            "track_buffer": track_buffer,
            "mot20": mot20,
        }
    )
    if frames is not None and frames < 0:
        raise InvalidParameters(f"a stream cannot have {frames} frames", hint="give --frames as 0 or more")
    check_output(output, force=force)
    if output.exists() and detections.exists() and output.samefile(detections):
        raise InvalidParameters(f"{output} is the file of detections itself", hint="name another output")
    stream = read_detections(detections)
    tracks = track_stream(stream, parameters, frames=frames)
    write_tracks(output, tracks, force=force)
    for note in notes(stream, tracks, parameters.track_thresh):
        err.print(f"note: {note}", markup=False, soft_wrap=True)
    if as_json:
        out.file.write(json.dumps(figures(stream, tracks, output)) + "\n")
    else:
        out.print(summary(stream, tracks, output), markup=False, soft_wrap=True)


def figures(stream: DetectionStream, tracks: TrackStream, output: Path) -> dict[str, str | int | float]:
    """Name the figures of the summary."""
    fps = tracks.frames / tracks.seconds if tracks.seconds else 0.0
    return {
        "output": str(output),
        "frames": tracks.frames,
        "detections": len(stream),
        "tracks": tracks.tracks,
        "boxes": len(tracks),
        "fps": round(fps, 1),
    }


def summary(stream: DetectionStream, tracks: TrackStream, output: Path) -> str:
    """One line on what was done."""
    told = figures(stream, tracks, output)
    return (
        f"{output}: {told['tracks']} tracks ({told['boxes']} boxes) of {told['detections']} detections "
        f"in {told['frames']} frames, {told['fps']:.0f} frames/s"
    )


def notes(stream: DetectionStream, tracks: TrackStream, track_thresh: float) -> list[str]:
    """Say what in the detections may surprise whoever reads the tracks."""
    said = []
    if stream.reordered:
        said.append(
            "the frames were not in order and have been sorted; within a frame the file's order stays"
        )
    if stream.unusable:
        said.append(f"{stream.unusable} boxes without a height, or inside out, were left out")
    if len(stream) and float(stream.scores.max()) > 1:
        said.append(
            f"scores reach {float(stream.scores.max()):g}; ByteTrack's thresholds are meant for 0 to 1"
        )
    if len(stream) and not len(tracks):
        said.append(
            f"no track: one starts at a score of {track_thresh + 0.1:g}, the best here is "
            f"{float(stream.scores.max()):g}; see --track-thresh"
        )
    return said
