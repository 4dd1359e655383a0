from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from posetask.errors import DownloadFailed, ModelCorrupt, PoseTaskError, StorageFull
from posetask.models import download
from posetask.models.download import fetch


@pytest.fixture
def model(make_yolox) -> bytes:
    return make_yolox("served.onnx").read_bytes()


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, body in members.items():
            bundle.writestr(name.replace("__", "/"), body)
    return buffer.getvalue()


def get(url: str, folder: Path, **options) -> tuple[Path, str]:
    return fetch(url, folder, allow_loopback_http=True, **options)


def test_a_model_is_fetched_whole(web, model, folder):
    told = []
    path, sha256 = get(web.serve("/m.onnx", model), folder, progress=lambda *a: told.append(a))
    assert path.parent == folder
    assert path.read_bytes() == model
    assert sha256 == hashlib.sha256(model).hexdigest()
    assert told[-1] == (len(model), len(model))


def test_a_server_that_does_not_say_the_length(web, model, folder):
    told = []
    path, _ = get(web.serve("/m.onnx", model, content_length=""), folder, progress=lambda *a: told.append(a))
    assert path.read_bytes() == model
    assert told[-1] == (len(model), None)


def test_the_onnx_is_taken_out_of_a_zip_wherever_it_lies(web, model, folder):
    body = zipped(a__b__readme=b"no", a__b__end2end_onnx=b"")
    body = zipped(**{"2023/net/end2end.onnx": model, "2023/net/pipeline.json": b"{}"})
    path, sha256 = get(web.serve("/m.zip", body), folder, member="end2end.onnx")
    assert path.read_bytes() == model
    assert sha256 == hashlib.sha256(model).hexdigest()
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_paths_in_a_zip_are_never_used(web, model, folder):
    path, _ = get(
        web.serve("/m.zip", zipped(**{"../../../evil/end2end.onnx": model})), folder, member="end2end.onnx"
    )
    assert path.parent == folder
    assert not (folder.parents[2] / "evil").exists()


def test_redirects_are_followed(web, model, folder):
    web.serve("/real.onnx", model)
    web.serve("/hop", b"", 302, location="/real.onnx")
    url = web.serve("/start", b"", 301, location=web.base + "/hop")
    assert get(url, folder)[0].read_bytes() == model
    assert web.asked == ["/start", "/hop", "/real.onnx"]


FAILURES = {
    "404": (lambda w, m: w.base + "/absent", DownloadFailed, "404"),
    "503": (lambda w, m: w.serve("/m", b"", 503), DownloadFailed, "503"),
    "redirect to plain http": (
        lambda w, m: w.serve("/m", b"", 302, location="http://models.example/m.onnx"),
        DownloadFailed,
        "not https",
    ),
    "redirect to a file": (
        lambda w, m: w.serve("/m", b"", 302, location="file:///etc/passwd"),
        DownloadFailed,
        "not https",
    ),
    "redirect without end": (
        lambda w, m: w.serve("/m", b"", 302, location="/m"),
        DownloadFailed,
        "redirects",
    ),
    "redirect to nowhere": (
        lambda w, m: w.serve("/m", b"", 302, location="http://[::"),
        DownloadFailed,
        None,
    ),
    "cut short": (lambda w, m: w.serve("/m", m[:-10], content_length=str(len(m))), DownloadFailed, None),
    "web page": (lambda w, m: w.serve("/m", b"<html>log in</html>"), ModelCorrupt, "not an ONNX model"),
    "empty": (lambda w, m: w.serve("/m", b""), ModelCorrupt, "empty"),
    "compressed unasked": (
        lambda w, m: w.serve("/m", gzip.compress(m), content_encoding="gzip"),
        DownloadFailed,
        "compressed",
    ),
    "says it is too large": (
        lambda w, m: w.serve("/m", b"x", content_length=str(10**12)),
        DownloadFailed,
        "more than the limit",
    ),
    "nobody there": (lambda w, m: "http://127.0.0.1:9/m.onnx", DownloadFailed, "ConnectError"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_goes_wrong_is_told_and_leaves_nothing(web, model, folder, case):
    serve, kind, says = FAILURES[case]
    with pytest.raises(kind, match=says) as caught:
        get(serve(web, model), folder)
    assert caught.value.retryable == (kind is DownloadFailed)
    assert list(folder.iterdir()) == []


def test_more_than_the_limit_is_not_read(web, model, folder):
    with pytest.raises(DownloadFailed, match="limit of 100"):
        get(web.serve("/m", model, content_length=""), folder, max_bytes=100)
    assert list(folder.iterdir()) == []


def bomb() -> bytes:
    return zipped(**{"end2end.onnx": b"\0" * 5_000_000})


def lying_bomb() -> bytes:
    """A zip whose header says that the member is small."""
    body = bytearray(bomb())
    size = (5_000_000).to_bytes(4, "little")
    at = -1
    while (at := body.find(size, at + 1)) >= 0:
        body[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(body)


def encrypted() -> bytes:
    body = bytearray(zipped(**{"end2end.onnx": b"secret"}))
    body[6] |= 1
    body[body.find(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        pytest.param(b"<html>log in</html>", DownloadFailed, "no readable zip", id="web page"),
        pytest.param(zipped(other=b"x"), DownloadFailed, "holds 0 files", id="without the model"),
        pytest.param(
            zipped(**{"a/end2end.onnx": b"x", "b/end2end.onnx": b"y"}),
            DownloadFailed,
            "holds 2 files",
            id="twice",
        ),
        pytest.param(bomb(), ModelCorrupt, "unpacks to more than 1000000", id="bomb"),
        pytest.param(lying_bomb(), PoseTaskError, None, id="bomb that lies"),
        pytest.param(bomb()[:-30], DownloadFailed, "no readable zip", id="cut short"),
        pytest.param(encrypted(), DownloadFailed, "no readable zip", id="encrypted"),
        pytest.param(
            zipped(**{"end2end.onnx": b"text"}), ModelCorrupt, "not an ONNX model", id="text inside"
        ),
    ],
)
def test_zips_that_are_not_what_they_should_be(web, folder, body, kind, says):
    with pytest.raises(kind, match=says):
        get(web.serve("/m.zip", body), folder, member="end2end.onnx", max_bytes=1_000_000)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/m.onnx",
        "http://models.example/m.onnx",
        "ftp://h/m",
        "file:///etc/passwd",
        "m.onnx",
        "",
    ],
)
def test_without_the_tests_door_only_https_is_fetched(folder, url):
    with pytest.raises(DownloadFailed, match="not https"):
        fetch(url, folder)
    assert list(folder.iterdir()) == []


def test_the_tests_door_opens_to_this_machine_only(folder):
    with pytest.raises(DownloadFailed, match="not https"):
        get("http://models.example/m.onnx", folder)


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, StorageFull), (errno.EACCES, DownloadFailed)])
def test_a_folder_that_takes_nothing(web, model, folder, monkeypatch, code, kind):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    url = web.serve("/m", model)
    monkeypatch.setattr(download.os, "fsync", refuse)
    with pytest.raises(kind, match=str(folder)) as caught:
        get(url, folder)
    assert "POSETASK_MODELS" in caught.value.hint
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(download.tempfile, "mkstemp", lambda **_: refuse())
    with pytest.raises(kind, match="into"):
        get(url, folder)
