"""Files that are complete or absent: written beside their place, synced, and moved there in one step."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from posetask.errors import OutputError, OutputExists, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What file systems without hard links answer (FAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
# What those answer that cannot sync a folder, and where a folder may be written but not read.
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})


def is_full(error: OSError) -> bool:
    """Whether space, quota or a file-size limit was the trouble.

    >>> is_full(OSError(errno.ENOSPC, "no space")), is_full(OSError(errno.EACCES, "no right"))
    (True, False)
    """
    return error.errno in _FULL


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
        if is_full(error):
            raise StorageFull(
                f"no space left to write {path} ({error.strerror})",
                hint="free some space, or choose another place",
            ) from error
        raise OutputError(
            f"cannot write {path} ({error.strerror or error})",
            hint="check that the folder exists and is writable",
        ) from error


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Stop before any work is done.

    Raises:
        OutputExists: Something is at ``path``, and ``overwrite`` is False.
        OutputError: A folder is at ``path``: it is never replaced.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder", hint="choose another name for the output")
    if not overwrite and os.path.lexists(path):
        raise _exists(path)


def temporary_beside(target: Path) -> Path:
    """Name a hidden file in the same folder that nobody else uses; publishing it is then one rename."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


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
        _place(temporary, target, overwrite=overwrite)


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
            _sync_folder(path.parent)


class Output:
    """A file in the making; it takes its name with :meth:`publish`, complete and on disk, or never.

    Args:
        path: The name it shall have. Its folder must exist.
        overwrite: Replace what is there.

    Attributes:
        path: As given.
        file: Where to write to.

    Raises:
        OutputExists: See :func:`refuse_existing`.
        OutputError: The folder is missing or not writable.
        StorageFull: No space left.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        refuse_existing(path, overwrite=overwrite)
        self.path = path
        self._overwrite = overwrite
        self._temporary = temporary_beside(path)
        with storage_errors(path):
            self.file: BinaryIO = open_temporary(self._temporary)

    def finish(self) -> None:
        """Bring all that was written onto the disk, still under the temporary name."""
        with storage_errors(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def publish(self) -> None:
        """Give the finished file its name, in one step.

        Raises:
            OutputExists: Someone else made such a file meanwhile.
        """
        with storage_errors(self.path):
            _place(self._temporary, self.path, overwrite=self._overwrite)

    def discard(self) -> None:
        """Leave nothing behind. Harmless after :meth:`publish`, and on a full disk."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


@contextmanager
def writing_whole(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes its place at ``path`` when the block ends well, and leaves nothing otherwise.

    Raises:
        OutputExists: See :func:`refuse_existing`.
        StorageFull: No space left.
        OutputError: The folder cannot be written.
    """
    output = Output(path, overwrite=overwrite)
    try:
        with storage_errors(path):
            yield output.file
        output.finish()
        output.publish()
    finally:
        output.discard()


def open_temporary(path: Path) -> BinaryIO:
    """Create a new file for writing, with the permissions that any new file of the user's gets."""
    return path.open("xb", buffering=1 << 20)


def _exists(target: Path) -> OutputExists:
    return OutputExists(
        f"{target} is there already", hint="choose another output, or pass --force to replace it"
    )


def _place(temporary: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(target)
    else:
        try:
            _claim(temporary, target)
        except FileExistsError as error:
            raise _exists(target) from error
    _sync_folder(target.parent)


def _claim(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)  # unlike a rename, it never replaces
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))  # ours from here on
        try:
            temporary.replace(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    else:
        temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, where the file system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
