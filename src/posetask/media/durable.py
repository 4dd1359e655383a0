"""Files that are complete or absent: written beside their place, synced, and moved there in one step."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posetask.errors import OutputError, OutputExists, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What file systems without hard links answer (FAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system (or FFmpeg) says of ``path`` into our errors.

    Raises:
        StorageFull: No space, quota or file-size limit.
        OutputError: Anything else, for example no permission.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"no space left to write {path} ({error.strerror})",
                hint="free some space, or choose another place",
            ) from error
        raise OutputError(
            f"cannot write {path} ({error.strerror or error})",
            hint="check that the folder exists and is writable",
        ) from error


def temporary_beside(target: Path) -> Path:
    """Name a hidden file in the same folder that nobody else uses; publishing it is then one rename."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def write_durably(path: Path, data: bytes, *, sync_name: bool = True) -> None:
    """Write ``data`` so that ``path`` holds all of it or what it held before, a power cut included.

    Args:
        path: The file.
        data: All of it.
        sync_name: Wait until the name is durable too. False where a later call in the same folder
            does so, or where the file can be made again.

    Raises:
        StorageFull: No space left.
        OutputError: The folder cannot be written.
    """
    temporary = temporary_beside(path)
    with storage_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync_name:
            sync_folder(path.parent)


def publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Move a finished file to ``target``, once: of two writers without ``overwrite`` exactly one succeeds.

    Raises:
        OutputExists: ``target`` is there already; ``temporary`` is then still in its place.
        StorageFull: No space left.
        OutputError: The folder cannot be written.
    """
    with storage_errors(target):
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(target)
        else:
            try:
                _claim(temporary, target)
            except FileExistsError as error:
                raise exists(target) from error
        sync_folder(target.parent)


def _claim(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))  # ours from here on
        temporary.replace(target)
    else:
        temporary.unlink()


def exists(target: Path) -> OutputExists:
    """Make the error for an output that is there already."""
    return OutputExists(
        f"{target} is there already", hint="choose another output, or pass --force to replace it"
    )


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
