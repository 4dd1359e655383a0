"""Worlds as URIs."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import InvalidParameters
from posetask.synth.spec import CameraMotion, Difficulty, Paths, Place, WorldSpec
from posetask.synth.uri import parse, write

SPECS = st.builds(
    WorldSpec,
    seed=st.integers(0, 2**63 - 1),
    width=st.integers(64, 7680),
    height=st.integers(64, 4320),
    frame_rate=st.sampled_from([10.0, 23.976, 25.0, 29.97, 60.0]),
    frames=st.integers(1, 1 << 20),
    people=st.integers(0, 200),
    difficulty=st.sampled_from(Difficulty),
    number_code=st.booleans(),
    camera=st.sampled_from(CameraMotion),
    place=st.sampled_from(Place),
    paths=st.none() | st.sampled_from(Paths),
    min_height=st.none() | st.floats(0.02, 2),
    max_height=st.none() | st.floats(0.02, 2),
)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("synth:", WorldSpec()),
        ("synth://", WorldSpec()),
        (
            "synth:people=4,frames=150,seed=7,size=640x360",
            WorldSpec(people=4, frames=150, seed=7, width=640, height=360),
        ),
        ("synth:hard,still,number-code", WorldSpec(difficulty="hard", camera="still", number_code=True)),
        ("synth: fps = 30 , place=park", WorldSpec(frame_rate=30, place="park")),
        ("synth:difficulty=hard,min-height=0.2", WorldSpec(difficulty="hard", min_height=0.2)),
    ],
)
def test_a_uri_names_a_world(uri: str, expected: WorldSpec) -> None:
    assert parse(uri) == expected


@given(SPECS)
def test_a_world_written_as_a_uri_is_read_back(spec: WorldSpec) -> None:
    assert parse(write(spec)) == spec


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file:people=4", "does not begin"),
        ("synth:peeple=4", "unknown key 'peeple'"),
        ("synth:loud", "unknown flag 'loud'"),
        ("synth:people=4,people=5", "second time"),
        ("synth:hard,difficulty=easy", "second time"),
        ("synth:people=many", "people"),
        ("synth:people=-1", "people"),
        ("synth:size=640", "WIDTHxHEIGHT"),
        ("synth:size=0x0", "width"),
        ("synth:place=moon", "place"),
    ],
)
def test_what_cannot_be_read_says_what_and_how_to_mend_it(uri: str, says: str) -> None:
    with pytest.raises(InvalidParameters, match=says) as caught:
        parse(uri)
    assert caught.value.hint


@given(st.text(max_size=60))
def test_no_text_ends_in_anything_but_a_world_or_our_error(text: str) -> None:
    with suppress(InvalidParameters):
        assert isinstance(parse("synth:" + text), WorldSpec)
