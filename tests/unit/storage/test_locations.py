"""Where something lies: what is read as what, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import InvalidParameters
from posetask.storage.location import Location


@pytest.mark.parametrize(
    ("text", "scheme", "name"),
    [
        ("a/b.mp4", "file", "b.mp4"),
        ("12:30.mp4", "file", "12:30.mp4"),
        ("C:clip.mp4", "file", "C:clip.mp4"),
        ("file:/tmp/a%20b.mp4", "file", "a b.mp4"),
        ("file://localhost/tmp/b.mp4", "file", "b.mp4"),
        ("s3://results/lab/run/out.mp4", "s3", "out.mp4"),
        ("S3://results/a b/ü.mp4", "s3", "ü.mp4"),
        ("https://videos.example/a/walk%20.mp4?token=/x.mp4", "https", "walk .mp4"),
        ("http://[2001:db8::1]:8080/v.mp4", "http", "v.mp4"),
    ],
)
def test_what_is_read(text: str, scheme: str, name: str) -> None:
    found = Location.parse(text)
    assert (found.scheme, found.name, found.text) == (scheme, name, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gs://bucket/key", "gs:// is not known"),
        ("ftp://host/x", "ftp:// is not known"),
        ("s3://bucket", "names no object"),
        ("s3://bucket/", "names no object"),
        ("s3://bucket/a/", "names no object"),
        ("s3://bucket/a/../b", "names no object"),
        ("s3://bucket/a\nb", "control characters"),
        ("s3://B/x", "no name of a bucket"),
        ("s3:///x", "no name of a bucket"),
        ("s3://bucket/" + "k" * 1025, "names no object"),
        ("https:///x", "names no host"),
        ("http://[::1/x", "names no host"),
        ("file://elsewhere/x", "another host"),
        ("file:", "names no file"),
        ("file:///a%00b", "names no file"),
    ],
)
def test_what_is_refused_says_what_to_give(text: str, words: str) -> None:
    with pytest.raises(InvalidParameters, match=words) as caught:
        Location.parse(text)
    assert caught.value.hint


def test_a_sibling_lies_in_the_same_folder() -> None:
    assert Location.parse("out.mp4").sibling("out.hls/init.mp4").path == Path("out.hls/init.mp4")
    assert Location.parse("s3://bucket/out.mp4").sibling("out.parquet").text == "s3://bucket/out.parquet"
    with pytest.raises(InvalidParameters, match="nothing is written"):
        Location.parse("https://a.example/x.mp4").sibling("y")


@given(st.text(max_size=80), st.sampled_from(["", "s3://", "https://", "file:", "x://"]))
def test_no_text_ends_in_anything_but_a_location_or_our_error(text: str, scheme: str) -> None:
    with suppress(InvalidParameters):
        assert Location.parse(scheme + text).text == scheme + text
