"""Fetches a model file: https only, bounded, and into place only when it is whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from posetask.errors import DownloadFailed, ModelCorrupt, StorageFull
from posetask.models.onnxfile import MAX_BYTES, inspect, read_model
from posetask.storage.durable import is_full

if TYPE_CHECKING:
    import httpx

Progress = Callable[[int, int | None], None]
"""Called with bytes so far and the total, None where the server does not say."""

_REDIRECTS = 5
_CHUNK = 1 << 20


def fetch(
    url: str,
    into: Path,
    *,
    member: str | None = None,
    progress: Progress | None = None,
    max_bytes: int = MAX_BYTES,
    allow_loopback_http: bool = False,
) -> tuple[Path, str]:
    """Download a model to a temporary file of the folder ``into`` and check that it is one.

    Args:
        url: https.
        into: A folder that exists; on any failure nothing stays in it.
        member: Base name of the .onnx in the zip that the URL gives; None: the URL gives the .onnx.
        progress: Told as the bytes come.
        max_bytes: For the download, and for the file unpacked from it.
        allow_loopback_http: For tests: plain http from this machine itself.

    Returns:
        The temporary file (the caller moves or deletes it), flushed to disk, and its sha256.

    Raises:
        DownloadFailed: The network, the server, or something other than the model came.
        ModelCorrupt: A model came that must not be used.
        StorageFull: No space left.
    """
    archive = _temporary(into)
    try:
        _download(url, archive, progress, max_bytes, allow_loopback_http)
        if member is None:
            model = archive
        else:
            model = _temporary(into)
            try:
                _unpack(archive, member, model, url, max_bytes)
            except BaseException:
                model.unlink(missing_ok=True)
                raise
            archive.unlink()
    except BaseException as error:
        archive.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(error, into) from None
        raise
    try:
        data = read_model(model)
        inspect(data, urlsplit(url).path.rpartition("/")[2])
    except BaseException:
        model.unlink(missing_ok=True)
        raise
    return model, hashlib.sha256(data).hexdigest()


def _temporary(folder: Path) -> Path:
    try:
        fd, name = tempfile.mkstemp(prefix=".pull-", suffix=".tmp", dir=folder)
    except OSError as error:
        raise storage_error(error, folder) from None
    os.close(fd)
    return Path(name)


def storage_error(error: OSError, folder: Path) -> StorageFull | DownloadFailed:
    """Say in the project's errors why ``folder`` takes no file."""
    if is_full(error):
        return StorageFull(
            f"no space left in {folder}", hint="free some, or set POSETASK_MODELS to another folder"
        )
    return DownloadFailed(
        f"cannot write to {folder}: {error.strerror}", hint="set POSETASK_MODELS to a folder you may write to"
    )


def _allowed(url: str, allow_loopback_http: bool) -> bool:
    parts = urlsplit(url)
    loopback = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    return parts.scheme == "https" or (loopback and allow_loopback_http)


def _download(url: str, to: Path, progress: Progress | None, max_bytes: int, loopback: bool) -> None:
    import httpx  # only here: it takes longer to load than the rest of this package

    headers = {"User-Agent": "posetask", "Accept-Encoding": "identity"}
    timeout = httpx.Timeout(60.0, connect=15.0)
    try:
        with httpx.Client(timeout=timeout, headers=headers, follow_redirects=False) as client:
            for _ in range(_REDIRECTS + 1):
                if not _allowed(url, loopback):
                    raise DownloadFailed(f"{url} is not https, and nothing else is fetched")
                with client.stream("GET", url) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    _save(response, url, to, progress, max_bytes)
                    return
            raise DownloadFailed(f"{url}: more than {_REDIRECTS} redirects")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadFailed(
            f"{url}: {type(error).__name__} {error}".rstrip(),
            hint="check the connection and the proxy (HTTPS_PROXY), then try again",
        ) from None


def _save(response: httpx.Response, url: str, to: Path, progress: Progress | None, max_bytes: int) -> None:
    if response.status_code != 200:
        raise DownloadFailed(
            f"{url} answers {response.status_code} {response.reason_phrase}", hint="try again later"
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise DownloadFailed(f"{url} came compressed though that was not asked for")
    length = response.headers.get("content-length", "")
    total = int(length) if length.isdecimal() else None
    if total is not None and total > max_bytes:
        raise DownloadFailed(f"{url} has {total} bytes, more than the limit of {max_bytes}")
    done = 0
    with to.open("wb") as file:
        for chunk in response.iter_raw(_CHUNK):
            done += len(chunk)
            if done > max_bytes:
                raise DownloadFailed(f"{url} has more than the limit of {max_bytes} bytes")
            file.write(chunk)
            if progress is not None:
                progress(done, total)
        _flush(file)
    if total is not None and done != total:
        raise DownloadFailed(f"{url} ended after {done} of {total} bytes", hint="try again")


def _unpack(archive: Path, member: str, to: Path, url: str, max_bytes: int) -> None:
    """Copy the one member of that base name; paths inside the archive are never used as paths."""
    try:
        with zipfile.ZipFile(archive) as bundle:
            found = [m for m in bundle.infolist() if m.filename.rpartition("/")[2] == member]
            if len(found) != 1:
                raise DownloadFailed(f"{url} holds {len(found)} files named {member}, expected one")
            done = 0
            with bundle.open(found[0]) as source, to.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    done += len(chunk)
                    if done > max_bytes:
                        raise ModelCorrupt(f"{member} of {url} unpacks to more than {max_bytes} bytes")
                    file.write(chunk)
                _flush(file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DownloadFailed(
            f"{url} is no readable zip archive: {error}",
            hint="a proxy or a log-in page may have answered instead",
        ) from None


def _flush(file: object) -> None:
    file.flush()  # type: ignore[attr-defined]
    os.fsync(file.fileno())  # type: ignore[attr-defined]
