from __future__ import annotations

import pytest
from pydantic import ValidationError

from posetask.errors import InvalidParameters
from posetask.tracking.parameters import ByteTrackParameters, parse_parameters


def test_the_defaults_are_those_of_the_published_numbers() -> None:
    assert ByteTrackParameters().model_dump() == {
        "track_thresh": 0.6,
        "match_thresh": 0.9,
        "track_buffer": 30,
        "mot20": False,
        "frame_rate": None,
    }
    assert ByteTrackParameters().new_track_thresh == pytest.approx(0.7)


def test_every_parameter_says_what_it_is_its_unit_and_why() -> None:
    for name, field in ByteTrackParameters.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert {"unit", "reason"} <= set(field.json_schema_extra), name


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"track_thresh": -0.1}, "track_thresh"),
        ({"track_thresh": 1.1}, "track_thresh"),
        ({"track_thresh": float("nan")}, "track_thresh"),
        ({"track_thresh": "high"}, "track_thresh"),
        ({"match_thresh": 0}, "match_thresh"),
        ({"match_thresh": 1.5}, "match_thresh"),
        ({"track_buffer": -1}, "track_buffer"),
        ({"track_buffer": 1.5}, "track_buffer"),
        ({"track_buffer": 10**9}, "track_buffer"),
        ({"mot20": "perhaps"}, "mot20"),
        ({"frame_rate": 0}, "frame_rate"),
        ({"frame_rate": float("inf")}, "frame_rate"),
        ({"tracking_thresh": 0.5}, "tracking_thresh"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(values: dict[str, object], names: str) -> None:
    with pytest.raises(InvalidParameters, match=f"^{names}: ") as caught:
        parse_parameters(values)
    assert "track_buffer" in caught.value.hint


def test_parameters_do_not_change() -> None:
    parameters = ByteTrackParameters()
    with pytest.raises(ValidationError):
        parameters.track_thresh = 0.5  # type: ignore[misc]
    assert parameters.track_thresh == 0.6


@pytest.mark.parametrize(
    ("frame_rate", "buffer", "expected"),
    [
        (30, 30, 30),
        (25, 30, 25),
        (10, 30, 10),
        (60, 30, 60),
        (29.97, 30, 29),
        (1, 30, 1),
        (0.5, 30, 0),
        (30, 0, 0),
    ],
)
def test_the_buffer_is_in_frames_at_30_fps(frame_rate: float, buffer: int, expected: int) -> None:
    assert ByteTrackParameters(track_buffer=buffer).max_time_lost(frame_rate) == expected
