"""The multipart form: however it is cut into pieces the same file; and every way in which it can be wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetask.errors import FormatNotAllowed, NotAVideo, PoseTaskError
from posetask_api.errors import BadForm, NotAForm, UploadTooLarge
from posetask_api.form import PIECE_BYTES, clean_name, receive_file

MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"


def receive(kind: str, body: Any, begin: Any, most: int = 2**30) -> int:
    stored = 0

    def count(nbytes: int) -> None:
        nonlocal stored
        stored += nbytes

    asyncio.run(receive_file(kind, body, begin, most, count))  # type: ignore[arg-type]
    return stored


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(tail=st.binary(max_size=20_000), size=st.integers(1, 9000), other=st.binary(max_size=50))
def test_a_file_is_the_same_however_its_bytes_arrive(
    tail: bytes, size: int, other: bytes, make_form: Any, in_pieces: Any, begin: Any, uploads: list[Any]
) -> None:
    kind, body = make_form(("note", None, other), ("file", "walk.mp4", MP4 + tail), ("after", None, other))
    stored = receive(kind, in_pieces(body, size), begin)
    assert bytes(uploads[-1].data) == MP4 + tail
    assert stored == len(MP4 + tail)
    assert uploads[-1].name == "walk.mp4"
    assert not uploads[-1].discarded


def test_no_more_than_a_piece_is_held(make_form: Any, in_pieces: Any, begin: Any, uploads: list[Any]) -> None:
    kind, body = make_form(("file", "a.mp4", MP4 + bytes(10 * 2**20)))
    receive(kind, in_pieces(body, 2**16), begin)
    assert max(uploads[0].pieces) <= PIECE_BYTES + 2**16
    assert sum(uploads[0].pieces) == len(MP4) + 10 * 2**20


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ([("file", "a.txt", b"just words")], NotAVideo, "a text file"),
        ([("file", "a.mp4", b"")], NotAVideo, "empty"),
        ([("file", "a.png", b"\x89PNG\r\n\x1a\n")], NotAVideo, "PNG image"),
        ([("file", "a.m3u8", b"#EXTM3U\nhttp://x/y.ts")], FormatNotAllowed, "playlist"),
        ([("clip", "a.mp4", MP4)], BadForm, "no field named file"),
        ([("file", "a.mp4", MP4), ("file", "b.mp4", MP4)], BadForm, "two files"),
        ([("note", None, b"x" * 70_000)], BadForm, "other fields are too large"),
        ([("n", None, b"x")] * 30, BadForm, "more than 20 parts"),
        ([("file", "a.mp4", MP4 + bytes(5000))], UploadTooLarge, "larger than 4000 bytes"),
    ],
)
@pytest.mark.parametrize("size", [7, 100_000])
def test_what_is_no_upload_is_refused_and_forgotten(
    parts: list[tuple[str, str | None, bytes]],
    error: type[PoseTaskError],
    words: str,
    size: int,
    make_form: Any,
    in_pieces: Any,
    begin: Any,
    uploads: list[Any],
) -> None:
    kind, body = make_form(*parts)
    with pytest.raises(error, match=words) as caught:
        receive(kind, in_pieces(body, size), begin, most=4000)
    assert caught.value.hint
    assert all(upload.discarded for upload in uploads)


def test_a_body_that_is_refused_is_not_stored(
    make_form: Any, in_pieces: Any, begin: Any, uploads: list[Any]
) -> None:
    kind, body = make_form(("file", "a.zip", b"PK\x03\x04" + bytes(10**6)))
    with pytest.raises(NotAVideo):
        receive(kind, in_pieces(body, 1000), begin)
    assert uploads == []


@pytest.mark.parametrize("cut", [10, 130, 200, 5000, 9999])
def test_a_body_that_ends_in_the_middle_is_refused(
    cut: int, make_form: Any, in_pieces: Any, begin: Any, uploads: list[Any]
) -> None:
    kind, body = make_form(("file", "a.mp4", MP4 + bytes(9900)))
    with pytest.raises(BadForm):
        receive(kind, in_pieces(body[:cut], 512), begin)
    assert all(upload.discarded for upload in uploads)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("", NotAForm),
        ("application/json", NotAForm),
        ("multipart/mixed; boundary=x", NotAForm),
        ("multipart/form-data", BadForm),
        ("multipart/form-data; boundary=" + "x" * 71, BadForm),
        ("multipart/form-data; boundary=other", BadForm),
    ],
)
def test_another_content_type_is_refused(
    kind: str, error: type[PoseTaskError], make_form: Any, in_pieces: Any, begin: Any
) -> None:
    _, body = make_form(("file", "a.mp4", MP4))
    with pytest.raises(error):
        receive(kind, in_pieces(body, 512), begin)


@given(st.text(max_size=300))
def test_a_name_is_always_safe(name: str) -> None:
    cleaned = clean_name(name)
    assert 0 < len(cleaned) <= 100
    assert not {*cleaned} & {*"/\\\0\n\"' "}
    assert not cleaned.startswith((".", "-"))
