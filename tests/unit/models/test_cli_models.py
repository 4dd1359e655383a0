from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from posetask.cli.models import app
from posetask.errors import DownloadFailed, ModelCorrupt, ModelNotInstalled, UnknownModel
from posetask.models import folder
from posetask.models.catalogue import Catalogue


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("POSETASK_MODELS", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*args: str):
        return CliRunner().invoke(app, list(args))

    return invoke


@pytest.fixture
def downloads(monkeypatch, tmp_path, make_yolox):
    """What the network would bring: the same small model for every address."""
    body = make_yolox("network.onnx").read_bytes()
    real = folder.fetch
    web = {"body": body}

    def fetch(url, into, *, member, progress, allow_loopback_http):
        assert real is not fetch
        temporary = into / ".pull-x.tmp"
        temporary.write_bytes(web["body"])
        if progress:
            progress(len(web["body"]), len(web["body"]))
        import hashlib

        return temporary, hashlib.sha256(web["body"]).hexdigest()

    monkeypatch.setattr(folder, "fetch", fetch)
    return web


def test_list_shows_every_model(run, tmp_path):
    (tmp_path / "yolox-nano.onnx").write_bytes(b"x")
    result = run("list")
    assert result.exit_code == 0
    for spec in Catalogue.load():
        assert f" {spec.name} " in result.output
    lines = [
        line
        for line in result.output.splitlines()
        if line.startswith("✓  yolox") or line.startswith("✓ yolox")
    ]
    assert len(lines) == 1
    assert "yolox-nano " in lines[0]


def test_list_as_json_has_all_fields(run, tmp_path):
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == [spec.name for spec in Catalogue.load()]
    assert rows[0]["path"] == str(tmp_path / "yolox-nano.onnx")
    assert not any(row["installed"] for row in rows)
    assert all(row["accuracy"][0]["source"] for row in rows)


def test_pull_says_what_was_trusted(run, downloads):
    result = run("pull", "rtmpose-m-384")
    assert result.exit_code == 0
    assert "rtmpose-m-384: fetched, sha256 " in result.stdout
    assert "fetching rtmpose-m-384" in result.stderr
    assert "nobody publishes a digest" in result.stderr
    assert "licence: " in result.stderr
    again = run("pull", "rtmpose-m-384")
    assert "already here" in again.stdout
    assert again.stderr == ""


def test_pull_refuses_what_is_not_the_catalogues(run, downloads):
    assert isinstance(run("pull", "yolox-nano").exception, ModelCorrupt)
    assert isinstance(run("pull", "nope").exception, UnknownModel)


def test_pull_without_a_network(run, monkeypatch):
    def fetch(*args, **kwargs):
        raise DownloadFailed("no route", hint="check the connection")

    monkeypatch.setattr(folder, "fetch", fetch)
    error = run("pull").exception
    assert isinstance(error, DownloadFailed)
    assert error.hint == "check the connection"


def test_verify_tells_good_from_bad(run, downloads, tmp_path):
    assert isinstance(run("verify").exception, ModelNotInstalled)
    run("pull", "rtmpose-m-384")
    result = run("verify")
    assert result.exit_code == 0
    assert "rtmpose-m-384: ok" in result.output
    (tmp_path / "rtmpose-m-384.onnx").write_bytes(b"other")
    result = run("verify")
    assert isinstance(result.exception, ModelCorrupt)
    assert "expected" in result.output
    assert "--force rtmpose-m-384" in result.exception.hint
    (tmp_path / "rtmpose-m-384.onnx").write_bytes(b"")
    assert "unreadable" in run("verify").output
    (tmp_path / "rtmpose-m-384.json").unlink()
    (tmp_path / "rtmpose-m-384.onnx").write_bytes(b"other")
    assert "nothing to hold it against" in run("verify").output
    missing = run("verify", "yolox-s")
    assert isinstance(missing.exception, ModelNotInstalled)
    assert "yolox-s: missing" in missing.output
