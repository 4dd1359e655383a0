"""S3, and what speaks like it: objects read in parts, written in parts, and published once.

Reference: the Amazon S3 API reference; conditional writes (``If-None-Match: *``) as of 2024.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote
from xml.etree import ElementTree

import httpx

from posetask.errors import (
    InputError,
    OutputError,
    OutputExists,
    PoseTaskError,
    SourceNotFound,
    StorageFull,
    Unavailable,
)
from posetask.storage.durable import storage_errors
from posetask.storage.location import Location
from posetask.storage.s3settings import S3Settings
from posetask.storage.sigv4 import EMPTY, encode_key, presign, sign

__all__ = ["PART_BYTES", "S3", "S3Settings", "Stat"]

PART_BYTES = 16 * 2**20
"""What is written at once, and held in memory; a larger object goes up in parts."""
_MOST_PARTS = 10_000
_CHUNK = 2**18
_TRIES = 4
_DIGEST = "x-amz-meta-posetask-sha256"
_WAIT_SECONDS = 0.5


class Stat(NamedTuple):
    """What is known of an object without reading it."""

    size: int
    etag: str


class S3:
    """A client. Thread-safe; every call is tried again where the store is away for a moment.

    Args:
        settings: How to reach the store.
        timeout: Seconds without a byte until a try is given up.
    """

    def __init__(self, settings: S3Settings, *, timeout: float = 30.0) -> None:
        self._settings = settings
        self._http = httpx.Client(
            timeout=timeout, follow_redirects=False, trust_env=settings.endpoint is None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def stat(self, at: Location) -> Stat | None:
        """Size and tag of an object, None where there is none.

        Raises:
            InputError: It may not be read.
            Unavailable: The store is away.
        """
        answer = self._ask("HEAD", at)
        if answer.status_code == 404:
            return None
        _check(answer, at, reading=True)
        return Stat(int(answer.headers.get("content-length", 0)), answer.headers.get("etag", ""))

    def read(self, at: Location, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``, in pieces; goes on where a connection broke.

        Raises:
            SourceNotFound: There is no such object.
            InputError: It may not be read, or it changed meanwhile.
            Unavailable: The store is away.
        """
        etag, tries = None, 0
        while True:
            headers = {"range": f"bytes={start}-{'' if end is None else end - 1}"}
            if etag is not None:
                headers["if-match"] = etag
            try:
                with self._stream(at, headers) as answer:
                    if answer.status_code == 416 and start == 0:
                        return  # an empty object
                    if answer.status_code == 412:
                        raise InputError(f"{at.text} changed while it was read", hint="submit again")
                    _check(answer, at, reading=True)
                    etag = answer.headers.get("etag")
                    for piece in answer.iter_bytes(_CHUNK):
                        start += len(piece)
                        tries = 0
                        yield piece
                    return
            except httpx.TransportError as error:
                tries += 1
                if tries >= _TRIES:
                    raise _away(at, error) from error
                time.sleep(_WAIT_SECONDS * 2**tries)

    def fetch(self, at: Location, path: Path, *, most: int | None = None) -> int:
        """Write an object to a new file.

        Args:
            at: The object.
            path: The file.
            most: Bytes that are taken at most.

        Returns:
            Bytes.

        Raises:
            SourceNotFound: There is no such object.
            InputError: It may not be read, or is larger than ``most``.
            StorageFull: No space left for it.
            Unavailable: The store is away.
        """
        done = 0
        with storage_errors(path), path.open("xb") as file:
            for piece in self.read(at):
                done += len(piece)
                if most is not None and done > most:
                    raise InputError(f"{at.text} is larger than {most} bytes", hint="give a shorter video")
                file.write(piece)
        return done

    def put(self, at: Location, data: bytes, *, overwrite: bool = False) -> None:
        """Write a small object at once.

        Raises:
            OutputExists: It is there already with other bytes, and ``overwrite`` is False.
            OutputError: It may not be written.
            Unavailable: The store is away.
        """
        digest = hashlib.sha256(data).hexdigest()
        headers = {_DIGEST: digest} | ({} if overwrite else {"if-none-match": "*"})
        answer = self._ask("PUT", at, headers=headers, data=data)
        self._published(answer, at, digest)

    def upload(self, path: Path, at: Location, *, overwrite: bool = False) -> None:
        """Write a file as an object: it appears complete, or not at all.

        Raises:
            OutputExists: It is there already with other bytes, and ``overwrite`` is False.
            OutputError: It may not be written.
            Unavailable: The store is away.
        """
        size = path.stat().st_size
        if size <= PART_BYTES:
            self.put(at, path.read_bytes(), overwrite=overwrite)
            return
        with path.open("rb") as file:
            part = max(PART_BYTES, -(-size // _MOST_PARTS))
            self.upload_parts(
                iter(lambda: file.read(part), b""), at, overwrite=overwrite, digest=_digest(path)
            )

    def upload_parts(
        self, parts: Iterable[bytes], at: Location, *, overwrite: bool = False, digest: str = ""
    ) -> None:
        """Write an object of parts of at least 5 MiB each but for the last, one in memory at a time.

        Raises:
            OutputExists: It is there already, and ``overwrite`` is False.
            OutputError: It may not be written.
            Unavailable: The store is away.
        """
        started = self._ask("POST", at, query="uploads=", headers={_DIGEST: digest} if digest else {})
        _check(started, at, reading=False)
        upload = f"uploadId={quote(_tag(started.text, 'UploadId'), safe='')}"
        try:
            tags = []
            for number, part in enumerate(parts, 1):
                answer = self._ask("PUT", at, query=f"partNumber={number}&{upload}", data=part)
                _check(answer, at, reading=False)
                tags.append(answer.headers["etag"])
            listed = "".join(
                f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"
                for n, tag in enumerate(tags, 1)
            )
            body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
            condition = {} if overwrite else {"if-none-match": "*"}
            done = self._ask("POST", at, query=upload, headers=condition, data=body)
            if done.status_code == 404 and digest:
                # Tried again after a lost answer: it is complete already.
                self._published(httpx.Response(412, request=done.request), at, digest)
                return
            if done.status_code == 200 and "<Error>" in done.text:
                raise OutputError(f"{at.text}: {_tag(done.text, 'Message')}", hint="try again")
            self._published(done, at, digest)
        except BaseException:
            with suppress(PoseTaskError):
                self._ask("DELETE", at, query=upload)
            raise

    def delete(self, at: Location) -> None:
        """Take an object away; that there is none is fine.

        Raises:
            OutputError: It may not be deleted.
            Unavailable: The store is away.
        """
        answer = self._ask("DELETE", at)
        if answer.status_code != 404:
            _check(answer, at, reading=False)

    def list(self, prefix: Location) -> list[Location]:
        """All objects whose key begins as ``prefix``'s does, in order.

        Raises:
            InputError: They may not be listed.
            Unavailable: The store is away.
        """
        found: list[Location] = []
        token = ""
        while True:
            query = f"list-type=2&prefix={quote(prefix.key, safe='')}" + (
                f"&continuation-token={quote(token, safe='')}" if token else ""
            )
            answer = self._ask("GET", Location("s3", prefix.text, prefix.bucket), query=query)
            _check(answer, prefix, reading=True)
            for key in _tags(answer.text, "Key"):
                found.append(Location("s3", f"s3://{prefix.bucket}/{key}", prefix.bucket, key))
            token = next(iter(_tags(answer.text, "NextContinuationToken")), "")
            if not token:
                return found

    def link(self, at: Location, seconds: int) -> str:
        """A URL that gives the object to anyone for so many seconds."""
        s = self._settings
        return presign("GET", self._url(at), s.credentials, s.region, datetime.now(UTC), seconds)

    def _published(self, answer: httpx.Response, at: Location, digest: str) -> None:
        if answer.status_code in (409, 412):
            # Perhaps it was ourselves, and the answer got lost.
            there = self._ask("HEAD", at)
            if digest and there.headers.get(_DIGEST) == digest:
                return
            raise OutputExists(f"{at.text} is there already", hint="choose another output")
        _check(answer, at, reading=False)

    def _ask(
        self,
        method: str,
        at: Location,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
    ) -> httpx.Response:
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                answer = self._http.send(self._request(method, at, query, headers or {}, data))
            except httpx.TransportError as error:
                if last:
                    raise _away(at, error) from error
            else:
                if last or answer.status_code not in (429, 500, 502, 503, 504):
                    return answer
            time.sleep(_WAIT_SECONDS * 2**attempt)
        raise AssertionError  # pragma: no cover - the last try answers or raises

    @contextmanager
    def _stream(self, at: Location, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        answer = self._http.send(self._request("GET", at, "", headers, b""), stream=True)
        try:
            yield answer
        finally:
            answer.close()

    def _request(
        self, method: str, at: Location, query: str, headers: Mapping[str, str], data: bytes
    ) -> httpx.Request:
        s = self._settings
        url = self._url(at) + (f"?{query}" if query else "")
        payload = hashlib.sha256(data).hexdigest() if data else EMPTY
        signed = sign(method, url, headers, payload, s.credentials, s.region, datetime.now(UTC))
        return self._http.build_request(method, url, headers=signed, content=data or None)

    def _url(self, at: Location) -> str:
        s, key = self._settings, encode_key(at.key)
        if s.endpoint is not None:
            return f"{s.endpoint}/{at.bucket}" + (f"/{key}" if key else "")
        if "." in at.bucket:  # AWS's certificate covers one label
            return f"https://s3.{s.region}.amazonaws.com/{at.bucket}/{key}"
        return f"https://{at.bucket}.s3.{s.region}.amazonaws.com/{key}"


def _check(answer: httpx.Response, at: Location, *, reading: bool) -> None:
    status = answer.status_code
    if status < 300:
        return
    answer.read()
    code = next(iter(_tags(answer.text, "Code")), "") or f"HTTP {status}"
    if status in (429, 500, 502, 503, 504):
        raise Unavailable(f"{at.text}: the store says {code}", hint="try again later")
    if status == 507 or code in ("QuotaExceeded", "InsufficientStorage"):
        raise StorageFull(f"{at.text}: the store is full ({code})", hint="free some space")
    if status == 404 and reading and code != "NoSuchBucket":
        raise SourceNotFound(f"{at.text} does not exist", hint="check bucket and key")
    hint = "check the credentials and what they allow" if status in (401, 403) else "check bucket and region"
    raise (InputError if reading else OutputError)(f"{at.text}: the store says {code}", hint=hint)


def _away(at: Location, error: Exception) -> Unavailable:
    return Unavailable(
        f"{at.text}: the store does not answer ({type(error).__name__})",
        hint="check AWS_ENDPOINT_URL, or try again later",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tags(text: str, name: str) -> list[str]:
    """Texts of the elements of this name, whatever their namespace."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - of the store that the administrator chose
    except ElementTree.ParseError:
        return []
    return [element.text or "" for element in root.iter() if re.sub(r"^\{.*\}", "", element.tag) == name]


def _tag(text: str, name: str) -> str:
    found = _tags(text, name)
    if not found:
        raise Unavailable(f"the store's answer has no {name}", hint="is AWS_ENDPOINT_URL an S3 endpoint?")
    return found[0]
