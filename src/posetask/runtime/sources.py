"""What a run works on, by path or URI: files, ``file:``, ``s3://``, ``http(s)://``, or ``synth:…``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from posetask.media.inputs import Source
from posetask.media.inputs import open_source as open_file
from posetask.media.inputs import resolve as resolve_files
from posetask.media.limits import MediaLimits
from posetask.media.reader import FrameReader
from posetask.runtime.synthsource import SynthReader
from posetask.storage.location import Location
from posetask.synth.uri import SCHEME as SYNTH
from posetask.synth.uri import parse

__all__ = ["Source", "digest", "open_source", "resolve"]


def resolve(spec: str | Path) -> list[Source]:
    """Find the sources that ``spec`` names.

    ``synth:…`` is a world, always: a file of such a name is ``./synth:…``. What lies on a server is copied
    here first, into a folder that goes when nobody holds the source any more: decoders read files alone.
    A path is for :func:`posetask.media.inputs.resolve`.

    Raises:
        InputError: See ``docs/inputs.md``.
        Unavailable: A server is away.

    >>> resolve("synth:seed=7,people=2")[0].name
    'synth-7'
    """
    if isinstance(spec, Path):
        return resolve_files(spec)
    if spec.startswith(SYNTH):
        return [Source("video", (), f"synth-{parse(spec).seed}", spec)]
    location = Location.parse(spec)
    if location.path is not None:
        return resolve_files(spec if spec == str(location.path) else location.path)
    from posetask.storage.fetched import Fetched  # and its HTTP client: for those who need it

    fetched = Fetched(location)
    (found,) = resolve_files(fetched.path)
    return [Source(found.kind, found.paths, found.name, spec, fetched)]


def digest(source: Source) -> str | None:
    """SHA-256 of the source's file in hexadecimal, so that results can be told to come from it.

    None for what is no single file: a folder of images, or a rendered world. A gigabyte takes seconds.
    """
    if len(source.paths) != 1 or not source.paths[0].is_file():
        return None
    with source.paths[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_source(
    source: Source,
    *,
    limits: MediaLimits | None = None,
    start: float = 0.0,
    duration: float | None = None,
    max_frames: int | None = None,
    frame_rate: float = 25.0,
) -> FrameReader:
    """Open a source with the reader of its kind; see :func:`posetask.media.inputs.open_source`.

    Raises:
        InputError: See ``docs/inputs.md``.
    """
    if source.uri is not None and source.uri.startswith(SYNTH):
        return SynthReader(source.uri, limits=limits, start=start, duration=duration, max_frames=max_frames)
    reader = open_file(
        source, limits=limits, start=start, duration=duration, max_frames=max_frames, frame_rate=frame_rate
    )
    reader.held = source.held
    return reader
