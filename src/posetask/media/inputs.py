"""What IN is: a video, an image, a folder or a glob, told by content and not by name."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posetask.errors import InputError, SourceNotFound
from posetask.media.decode import VideoReader
from posetask.media.images import ImageReader
from posetask.media.limits import MediaLimits
from posetask.media.sniff import sniff

_MEDIA_NAMES = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|ts|m2ts|mts|mpe?g|vob|flv|gif|3gp|jpe?g|png|webp|bmp|tiff?)$", re.IGNORECASE
)
_Kind = Literal["video", "image", "sequence"]


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to work on.

    Attributes:
        kind: ``sequence`` is a folder or glob of several images.
        paths: One, or the images in natural order; none where ``uri`` is no file.
        name: Of the file without its suffix, or of the folder; what results are named after.
        uri: Where it is, if it is not at ``paths`` alone.
        held: What ``paths`` need to stay there; whoever reads them holds the source.
    """

    kind: _Kind
    paths: tuple[Path, ...]
    name: str
    uri: str | None = None
    held: object = None

    @property
    def location(self) -> str:
        """What another process is told to work on: the URI, or the first path, absolute."""
        return self.uri if self.uri is not None else str(self.paths[0].absolute())


def resolve(spec: str | Path) -> list[Source]:
    """Find the sources that ``spec`` names.

    A file is a source, whatever it is: what cannot be read is refused when it is opened. A folder is looked
    through, not its folders; hidden files and files that are no media by content nor by name are passed
    over. Several images are one sequence; several videos are as many sources.

    Raises:
        SourceNotFound: There is no such file, the folder has no media, or nothing matches the glob.
        InputError: Images and videos are mixed, or something cannot be read.
    """
    path = Path(spec)
    try:
        if path.is_dir():
            files = [file for file in path.iterdir() if not file.name.startswith(".")]
            found = [(file, _kind(file)) for file in files if file.is_file()]
            return _group(
                [(file, kind or "video") for file, kind in found if kind or _MEDIA_NAMES.search(file.name)],
                f"the folder {path}",
                path.resolve().name,
            )
        if not path.exists() and glob.has_magic(str(spec)):
            matches = [Path(match) for match in glob.glob(str(spec), recursive=True)]
            found = [(match, _kind(match)) for match in matches if match.is_file()]
            folder = matches[0].parent.resolve().name if matches else ""
            return _group([(file, kind or "video") for file, kind in found], f"the pattern {spec}", folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{spec} cannot be read: {error}", hint="check the path") from None
    kind = _kind(path) or "video"
    return [Source(kind, (path,), path.stem)]


def open_source(
    source: Source,
    *,
    limits: MediaLimits | None = None,
    threads: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    max_frames: int | None = None,
    frame_rate: float = 25.0,
) -> VideoReader | ImageReader:
    """Open a source with the reader of its kind.

    Args:
        source: One of :func:`resolve`'s.
        limits: See :class:`~posetask.media.limits.MediaLimits`.
        threads: Decoder threads of a video; None takes the available cores.
        start: Seconds to skip.
        duration: Seconds to read; None reads to the end.
        max_frames: Frames to read at most; None reads all.
        frame_rate: Of a sequence of images; videos have their own.

    Raises:
        InputError: See ``docs/inputs.md``.
    """
    if source.kind == "video":
        return VideoReader(
            source.paths[0],
            limits=limits,
            threads=threads,
            start=start,
            duration=duration,
            max_frames=max_frames,
        )
    return ImageReader(
        source.paths,
        limits=limits,
        frame_rate=frame_rate,
        start=start,
        duration=duration,
        max_frames=max_frames,
    )


def _kind(path: Path) -> Literal["video", "image"] | None:
    kind = sniff(path).kind
    return kind if kind in ("video", "image") else None


def _group(found: list[tuple[Path, Literal["video", "image"]]], where: str, name: str) -> list[Source]:
    if not found:
        raise SourceNotFound(f"{where} has no videos and no images", hint="check the path")
    found.sort(key=lambda item: _natural(str(item[0])))
    images = tuple(path for path, kind in found if kind == "image")
    videos = [path for path, kind in found if kind == "video"]
    if images and videos:
        raise InputError(
            f"{where} mixes images ({images[0].name}, …) and videos ({videos[0].name}, …)",
            hint="give one kind at a time, for example with a glob: '*.mp4'",
        )
    if images:
        return [
            Source(
                "image" if len(images) == 1 else "sequence",
                images,
                images[0].stem if len(images) == 1 else name,
            )
        ]
    return [Source("video", (path,), path.stem) for path in videos]


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key in which numbers count as numbers: ``a2`` before ``a10``."""
    parts = enumerate(re.split(r"(\d+)", text.casefold()))  # every second one is a number
    return [(1, int(part), part) if at % 2 else (0, 0, part) for at, part in parts]
