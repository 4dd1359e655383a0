"""All the data files of a run at once, side by side and with one stem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from posetask.errors import InvalidParameters
from posetask.exports.coco import CocoWriter
from posetask.exports.jsonl import JsonlWriter
from posetask.exports.metadata import RunMetadata
from posetask.exports.mot import MotWriter
from posetask.exports.parquet import ParquetWriter
from posetask.exports.writer import FileWriter, ResultWriter
from posetask.messages import Tracks
from posetask.storage.durable import refuse_existing

_WRITERS: dict[str, tuple[str, type[FileWriter]]] = {
    "parquet": (".parquet", ParquetWriter),
    "coco": (".coco.json", CocoWriter),
    "mot": (".mot.txt", MotWriter),
    "jsonl": (".jsonl", JsonlWriter),
}

FORMATS: tuple[str, ...] = tuple(_WRITERS)
"""Names of the formats; ``parquet`` is the canonical one."""


def target(stem: Path, name: str) -> Path:
    """Where the file of one format goes.

    >>> target(Path("out/walk.v2"), "coco").as_posix()
    'out/walk.v2.coco.json'
    """
    return stem.with_name(stem.name + _WRITERS[name][0])


def check_targets(stem: Path, formats: Sequence[str], *, overwrite: bool = False) -> dict[str, Path]:
    """Stop before any work is done if the results could not be put in place.

    Args:
        stem: Path of the results without suffix.
        formats: Of :data:`FORMATS`.
        overwrite: Existing files may be replaced.

    Returns:
        The files by format.

    Raises:
        InvalidParameters: A format is unknown.
        OutputExists: A file is there, and ``overwrite`` is False.
        OutputError: A folder has the name of a result.
    """
    unknown = [name for name in formats if name not in _WRITERS]
    if unknown:
        raise InvalidParameters(
            f"unknown format{'s' if len(unknown) > 1 else ''}: {', '.join(unknown)}",
            hint=f"there are {', '.join(FORMATS)}",
        )
    targets = {name: target(stem, name) for name in formats}
    for path in targets.values():
        refuse_existing(path, overwrite=overwrite)
    return targets


def open_writers(
    stem: Path, formats: Sequence[str], metadata: RunMetadata, overwrite: bool = False
) -> MultiWriter:
    """Begin the data files of a run; all or none.

    Args:
        stem: Path of the results without suffix. Its folder must exist.
        formats: Of :data:`FORMATS`.
        metadata: Of the run.
        overwrite: Replace existing files.

    Raises:
        InvalidParameters: A format is unknown.
        OutputExists: A file is there, and ``overwrite`` is False; nothing was touched.
        OutputError: A file cannot be written.
        StorageFull: No space left.
    """
    targets = check_targets(stem, formats, overwrite=overwrite)
    writers: dict[str, FileWriter] = {}
    try:
        for name, path in targets.items():
            writers[name] = _WRITERS[name][1](path, metadata, overwrite)
    except BaseException:
        for writer in writers.values():
            writer.abort()
        raise
    return MultiWriter(writers)


class MultiWriter:
    """Writes every frame to several writers; as a context manager it aborts what was not closed.

    Args:
        writers: By the format's name.
    """

    def __init__(self, writers: dict[str, FileWriter] | dict[str, ResultWriter]) -> None:
        self._writers: dict[str, ResultWriter] = {**writers}

    @property
    def paths(self) -> dict[str, Path]:
        """Where the results will be, by format."""
        return {name: writer.path for name, writer in self._writers.items()}

    def write(self, tracks: Tracks) -> None:
        """Take one frame, also one without people; frames come in order.

        Raises:
            StorageFull: No space left.
            StageFailed: The frame is out of order, or has other keypoints than the metadata say.
        """
        for writer in self._writers.values():
            writer.write(tracks)

    def close(self, frames: int | None = None) -> dict[str, Path]:
        """Complete all files, and only then let any of them take its name.

        Args:
            frames: How many frames the run had; as many as were written, if not given.

        Returns:
            The results by format.

        Raises:
            StorageFull: No space left; nothing was published.
            OutputExists: Someone else made such a file meanwhile.
        """
        try:
            for writer in self._writers.values():
                writer.finish(frames)
            for writer in self._writers.values():
                writer.publish()
        except BaseException:
            self.abort()
            raise
        return self.paths

    def abort(self) -> None:
        """Leave nothing behind that was not published."""
        for writer in self._writers.values():
            writer.abort()

    def __enter__(self) -> MultiWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()
