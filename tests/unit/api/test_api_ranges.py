"""Ranges: what is a part, what is the whole, and what cannot be."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask_api.errors import RangeNotSatisfiable
from posetask_api.ranges import check_range


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, False),
        ("bytes=0-", True),
        ("bytes=99-", True),
        ("bytes=-1", True),
        ("bytes=-1000", True),
        ("bytes=0-5,200-300", True),
        ("bytes=5-2", False),
        ("bytes=", False),
        ("bytes=a-b", False),
        ("bytes=--5", False),
        ("bytes=-", False),
        ("lines=0-5", False),
        ("bytes=" + ",".join(["0-1"] * 11), False),
    ],
)
def test_what_a_range_means(header: str | None, part: bool) -> None:
    assert check_range(header, 100) is part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0", "bytes=100-,500-"])
def test_what_lies_outside_is_said(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable, match="outside of 100 bytes"):
        check_range(header, 100)


@given(st.text(max_size=40), st.integers(0, 1000))
def test_no_header_ends_in_anything_but_an_answer(header: str, size: int) -> None:
    with suppress(RangeNotSatisfiable):
        assert check_range("bytes=" + header, size) in (True, False)
