"""Where something lies: a path, ``file:``, ``s3://bucket/key`` or ``http(s)://…``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from posetask.errors import InvalidParameters

Scheme = Literal["file", "s3", "http", "https"]

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(//)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MOST_KEY = 1024
_HINT = "give a path, file:///…, s3://BUCKET/KEY or https://…"


@dataclass(frozen=True, slots=True)
class Location:
    """A place, taken apart.

    Attributes:
        scheme: How it is reached.
        text: As given.
        bucket: Of ``s3``.
        key: Of ``s3``, without a slash in front.
        path: Of ``file``.
    """

    scheme: Scheme
    text: str
    bucket: str = ""
    key: str = ""
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read a path or a URI. What looks like no URI is a path, names with colons included.

        Raises:
            InvalidParameters: A scheme that is not known, a bad bucket, an empty key, or a ``..`` in a key.

        >>> Location.parse("s3://videos/in/walk.mp4").key
        'in/walk.mp4'
        >>> Location.parse("clips/a:b.mp4").path
        PosixPath('clips/a:b.mp4')
        >>> Location.parse("file:///tmp/a%20b.mp4").path
        PosixPath('/tmp/a b.mp4')
        """
        found = _SCHEME.match(text)
        scheme = found[1].lower() if found is not None else ""
        if scheme == "file":
            return cls("file", text, path=_file(text))
        if found is None or found[2] is None:
            return cls("file", text, path=Path(text))
        if scheme == "s3":
            bucket, key = _s3(text)
            return cls("s3", text, bucket=bucket, key=key)
        if scheme == "http" or scheme == "https":
            try:
                host = urlsplit(text).hostname
            except ValueError:
                host = None
            if not host:
                raise InvalidParameters(f"{text!r} names no host", hint=_HINT)
            return cls("https" if scheme == "https" else "http", text)
        raise InvalidParameters(f"{text!r}: {scheme}:// is not known here", hint=_HINT)

    @property
    def name(self) -> str:
        """The last part of it, without a query."""
        if self.path is not None:
            return self.path.name
        return PurePosixPath(self.key or unquote(urlsplit(self.text).path)).name

    def sibling(self, name: str) -> Location:
        """Another thing in the same folder of the same bucket.

        >>> Location.parse("s3://results/lab/run/out.mp4").sibling("out.hls/init.mp4").text
        's3://results/lab/run/out.hls/init.mp4'
        """
        if self.path is not None:
            beside = self.path.parent / name
            return Location("file", str(beside), path=beside)
        if self.scheme != "s3":
            raise InvalidParameters(f"nothing is written to {self.text}", hint="give s3:// or a path")
        folder, slash, _ = self.key.rpartition("/")
        key = f"{folder}{slash}{name}"
        return Location("s3", f"s3://{self.bucket}/{key}", self.bucket, key)


def _file(text: str) -> Path:
    rest = text[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise InvalidParameters(f"{text!r} is on another host ({host})", hint="file:///path")
        rest = slash + path
    path = unquote(rest)
    if not path or "\0" in path:
        raise InvalidParameters(f"{text!r} names no file", hint="file:///path")
    return Path(path)


def _s3(text: str) -> tuple[str, str]:
    bucket, _, key = text.split("://", 1)[1].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidParameters(f"{bucket!r} is no name of a bucket", hint="s3://BUCKET/KEY")
    parts = key.split("/")
    if not key or len(key.encode()) > _MOST_KEY or ".." in parts or "." in parts or not parts[-1]:
        raise InvalidParameters(f"{text!r} names no object", hint="s3://BUCKET/KEY, without .. in it")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        raise InvalidParameters(f"{text!r} has control characters", hint="s3://BUCKET/KEY")
    return bucket, key
