"""Write a file so that nobody ever sees half of it: a temporary name beside the target, then one rename."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from posetask.errors import OutputError, OutputExists, StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours.

    Raises:
        StorageFull: No space, quota or file size left.
        OutputError: Anything else that the system says.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"no space left for {path}", hint="free some, or choose another place for the output"
            ) from error
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"cannot write {path}: {why}", hint="check that the folder exists and is writable"
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
        raise OutputExists(
            f"{path} is there already", hint="choose another output, or pass --force to replace it"
        )


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
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with writing(path):
            self.file: BinaryIO = open_temporary(self._temporary)

    def finish(self) -> None:
        """Bring all that was written onto the disk, still under the temporary name."""
        with writing(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def publish(self) -> None:
        """Give the finished file its name, in one step.

        Raises:
            OutputExists: Someone else made such a file meanwhile.
        """
        with writing(self.path):
            if self._overwrite:
                self._temporary.replace(self.path)
            else:
                self._claim()
            _sync_folder(self.path.parent)

    def discard(self) -> None:
        """Leave nothing behind. Harmless after :meth:`publish`, and on a full disk."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _claim(self) -> None:
        try:
            os.link(self._temporary, self.path)  # unlike a rename, it never replaces
        except FileExistsError:
            refuse_existing(self.path, overwrite=False)
            raise
        except OSError:  # a file system without hard links
            refuse_existing(self.path, overwrite=False)
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink()


def open_temporary(path: Path) -> BinaryIO:
    """Create a new file for writing, with the permissions that any new file of the user's gets."""
    return path.open("xb", buffering=1 << 20)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
