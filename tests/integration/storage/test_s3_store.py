"""The S3 client against a real server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from posetask.errors import (
    InputError,
    InvalidParameters,
    NotAvailable,
    OutputError,
    OutputExists,
    PoseTaskError,
    SourceNotFound,
    Unavailable,
)
from posetask.storage import s3
from posetask.storage.fetched import Fetched
from posetask.storage.location import Location
from posetask.storage.s3 import S3, S3Settings

pytestmark = pytest.mark.kube

AT = Location.parse("s3://results/lab/a b/ü+x=1.txt")


def test_an_object_is_written_read_listed_and_deleted(object_store: Any) -> None:
    with object_store.client() as store:
        assert store.stat(AT) is None
        store.put(AT, b"hello")
        assert store.stat(AT).size == 5
        assert b"".join(store.read(AT)) == b"hello"
        assert b"".join(store.read(AT, 1, 3)) == b"el"
        assert [found.text for found in store.list(AT.sibling(""))] == [AT.text]
        assert httpx.get(store.link(AT, 60)).content == b"hello"
        store.delete(AT)
        store.delete(AT)
        assert store.stat(AT) is None
        store.put(AT, b"")
        assert list(store.read(AT)) == []


def test_what_is_published_is_published_once(object_store: Any) -> None:
    with object_store.client() as store:
        store.put(AT, b"mine")
        store.put(AT, b"mine")  # as after an answer that was lost
        with pytest.raises(OutputExists, match="there already"):
            store.put(AT, b"other")
        assert b"".join(store.read(AT)) == b"mine"
        store.put(AT, b"other", overwrite=True)
        assert b"".join(store.read(AT)) == b"other"


def test_large_files_go_up_in_parts_and_once(
    object_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 * 2**20)
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_bytes(os.urandom(11 * 2**20 + 7))
    with object_store.client() as store:
        store.upload(one, AT)
        store.upload(one, AT)
        with pytest.raises(OutputExists):
            store.upload(two, AT)
        assert store.fetch(AT, tmp_path / "got") == one.stat().st_size
        assert (tmp_path / "got").read_bytes() == one.read_bytes()
        store.upload(two, AT, overwrite=True)
        assert b"".join(store.read(AT)) == two.read_bytes()
        with pytest.raises(InputError, match="larger than 5 bytes"):
            store.fetch(AT, tmp_path / "little", most=5)


def test_many_objects_are_listed(object_store: Any) -> None:
    with object_store.client() as store:
        keys = [Location.parse(f"s3://results/many/{i:04d}") for i in range(1005)]
        for key in keys:
            folder = object_store.folder / "results" / "many"
            folder.mkdir(exist_ok=True)
            (folder / key.name).write_bytes(b"x")
        assert [found.text for found in store.list(keys[0].sibling(""))] == [key.text for key in keys]


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("s3://results/none", SourceNotFound, "does not exist"),
        ("s3://nowhere/x", InputError, "NoSuchBucket"),
    ],
)
def test_what_cannot_be_read_says_why(
    uri: str, error: type[PoseTaskError], words: str, object_store: Any
) -> None:
    with object_store.client() as store, pytest.raises(error, match=words) as caught:
        list(store.read(Location.parse(uri)))
    assert caught.value.hint


def test_wrong_credentials_are_named_for_reading_and_writing(object_store: Any) -> None:
    settings = S3Settings.from_environment({**object_store.environment, "AWS_SECRET_ACCESS_KEY": "guess"})
    with S3(settings) as store:
        with pytest.raises(InputError, match="SignatureDoesNotMatch") as caught:
            list(store.read(AT))
        assert "credentials" in caught.value.hint
        with pytest.raises(OutputError, match="SignatureDoesNotMatch"):
            store.put(AT, b"x")


def test_a_store_that_is_away_can_be_tried_later(
    start_store: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_WAIT_SECONDS", 0.01)
    server = start_store()
    with server.client() as store:
        store.put(AT, b"x" * 2**21)
        reading = store.read(AT)
        next(reading)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="does not answer"):
            list(store.read(AT))
        with pytest.raises(Unavailable, match="does not answer") as caught:
            store.put(AT, b"y")
    assert caught.value.retryable


def test_a_source_is_fetched_to_a_file_of_its_own(object_store: Any) -> None:
    (object_store.folder / "videos" / "walk.mp4").write_bytes(b"not really")
    fetched = Fetched(Location.parse("s3://videos/walk.mp4"))
    assert (fetched.path.name, fetched.path.read_bytes()) == ("walk.mp4", b"not really")
    with pytest.raises(SourceNotFound):
        Fetched(Location.parse("s3://videos/run.mp4"))


@pytest.mark.parametrize(
    ("environment", "error", "words"),
    [
        ({}, NotAvailable, "no credentials"),
        ({"AWS_ACCESS_KEY_ID": "a"}, NotAvailable, "no credentials"),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "store"},
            InvalidParameters,
            "AWS_ENDPOINT_URL",
        ),
    ],
)
def test_settings_say_what_is_missing(
    environment: dict[str, str], error: type[PoseTaskError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        S3Settings.from_environment(environment)
    assert caught.value.hint
