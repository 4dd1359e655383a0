"""``posetask synth``: a clip of the synthetic world, with exact truth."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.progress import Progress

from posetask.cli.console import err, out
from posetask.errors import InvalidParameters
from posetask.synth.clip import write_clip
from posetask.synth.spec import CameraMotion, Difficulty, Paths, Place, WorldSpec


def synth(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.mp4", help="the clip")],
    seed: Annotated[int, typer.Option(help="the same seed gives the same frames")] = 0,
    people: Annotated[int, typer.Option(help="how many live in the world")] = 4,
    frames: Annotated[int, typer.Option(help="length of the clip")] = 150,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT, both even")] = "640x360",
    fps: Annotated[float, typer.Option(help="frames per second")] = 25.0,
    hard: Annotated[bool, typer.Option("--hard", help="small people, crowds, things in the way")] = False,
    still: Annotated[bool, typer.Option("--still", help="a camera on a tripod")] = False,
    place: Annotated[Place, typer.Option(help="where it happens")] = Place.ANY,
    paths: Annotated[
        Paths | None, typer.Option(help="how people keep clear of each other", show_default=False)
    ] = None,
    number_code: Annotated[
        bool, typer.Option("--number-code", help="burn each frame's number into its pixels")
    ] = False,
    crf: Annotated[int, typer.Option(min=0, max=51, help="x264's quality; less is better")] = 20,
    truth: Annotated[bool, typer.Option("--truth/--no-truth", help="write MOT and COCO truth too")] = True,
    force: Annotated[bool, typer.Option("--force", help="replace existing outputs")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Render people who walk, run, wave, sit, squat and turn; leave the clip and what is true of it."""
    shape = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", size)
    if not shape:
        raise InvalidParameters(f"--size {size!r} is not WIDTHxHEIGHT", hint="for example --size 640x360")
    try:
        spec = WorldSpec(
            seed=seed,
            people=people,
            frames=frames,
            width=int(shape[1]),
            height=int(shape[2]),
            frame_rate=fps,
            difficulty=Difficulty.HARD if hard else Difficulty.EASY,
            camera=CameraMotion.STILL if still else CameraMotion.MOVING,
            place=place,
            paths=paths,
            number_code=number_code,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameters(
            f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}",
            hint="posetask synth --help says what is allowed",
        ) from None
    begin = time.perf_counter()
    with Progress(console=err, transient=True, disable=as_json or not sys.stderr.isatty()) as progress:
        task = progress.add_task("rendering", total=spec.frames)
        clip = write_clip(
            spec, output, truth=truth, crf=crf, overwrite=force, on_frame=lambda _: progress.advance(task)
        )
    seconds = time.perf_counter() - begin
    if as_json:
        document = {
            "output": str(clip.video),
            "mot": str(clip.mot) if clip.mot else None,
            "coco": str(clip.coco) if clip.coco else None,
            "frames": clip.frames,
            "people": clip.people,
            "fps": round(clip.frames / seconds, 1),
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return
    out.print(
        f"{clip.video}: {clip.frames} frames, at most {clip.people} people, {clip.frames / seconds:.0f} fps"
    )
    if clip.mot and clip.coco:
        out.print(f"truth: {clip.mot}, {clip.coco}")
