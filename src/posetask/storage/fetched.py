"""A source that is not a file here, as a file for as long as somebody holds it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path

from posetask.errors import InvalidParameters
from posetask.storage.location import Location
from posetask.storage.s3 import S3, S3Settings
from posetask.storage.web import WebRules, fetch_web

MOST_BYTES = 50 * 2**30
"""Of a source, where ``POSETASK_SOURCE_MAX_BYTES`` does not say."""


class Fetched:
    """A copy in a folder of its own, which goes when this object, or the process, does.

    FFmpeg is never given a URL: it reads files alone, so that no video leads it elsewhere.

    Args:
        location: ``s3`` or ``http(s)``.
        most: Bytes that are taken at most; None takes ``POSETASK_SOURCE_MAX_BYTES``.

    Attributes:
        path: The copy. It bears the last part of the location's name.

    Raises:
        SourceNotFound: There is nothing.
        InputError: It may not be read, or is too large.
        StorageFull: No space left for it.
        Unavailable: Its server is away.
    """

    def __init__(self, location: Location, *, most: int | None = None) -> None:
        most = _most() if most is None else most
        folder = Path(tempfile.mkdtemp(prefix="posetask-source-"))
        self._gone = weakref.finalize(self, shutil.rmtree, folder, True)
        name = re.sub(r"[^\w.-]+", "-", location.name, flags=re.ASCII).strip(".-")[-100:]
        self.path = folder / (name or "source")
        try:
            if location.scheme == "s3":
                with S3(S3Settings.from_environment()) as store:
                    store.fetch(location, self.path, most=most)
            else:
                fetch_web(location.text, self.path, WebRules.from_environment(), most=most)
        except BaseException:
            self._gone()
            raise


def _most() -> int:
    text = os.environ.get("POSETASK_SOURCE_MAX_BYTES", str(MOST_BYTES))
    if not text.isdigit() or int(text) < 1:
        raise InvalidParameters(f"POSETASK_SOURCE_MAX_BYTES is {text!r}", hint="a number of bytes")
    return int(text)
