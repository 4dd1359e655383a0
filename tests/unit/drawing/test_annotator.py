"""Whatever the tracks say, drawing never raises, never writes outside, and shows what can be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetask.drawing import PoseAnnotator, color_of
from posetask.messages import FrameHeader, Tracks

Pixels = npt.NDArray[np.uint8]
Backdrop = Callable[[int, int], Pixels]
ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)
NEAR = st.floats(-400, 400, width=32)


@st.composite
def any_tracks(draw: st.DrawFn, width: int, height: int) -> Tracks:
    n, k = draw(st.integers(0, 4)), draw(st.sampled_from([17, 17, 5, 26, 0]))

    def floats(*shape: int) -> npt.NDArray[np.float32]:
        values = draw(
            st.lists(st.one_of(NEAR, ANY_FLOAT), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
        )
        return np.array(values, np.float32).reshape(shape)

    ids = draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=n, max_size=n, unique=True))
    header = FrameHeader(
        index=draw(st.integers(0, 2**40)),
        pts=draw(st.integers(-(2**40), 2**40)),
        time_base=Fraction(1, 90000),
        width=width,
        height=height,
    )
    return Tracks(
        header,
        np.array(ids, np.int32),
        floats(n, 4),
        floats(n),
        np.full(n, -1, np.int32),
        floats(n, k, 2),
        np.abs(floats(n, k)) if draw(st.booleans()) else np.ones((n, k), np.float32),
        interpolated=draw(st.booleans()),
    )


@settings(max_examples=120, deadline=None)
@given(data=st.data(), width=st.integers(1, 200), height=st.integers(1, 160), options=st.integers(0, 7))
def test_no_tracks_make_it_raise_or_write_outside(
    data: st.DataObject, width: int, height: int, options: int
) -> None:
    tracks = data.draw(any_tracks(width, height))
    guard = 5000
    memory = np.full(2 * guard + height * width * 3, 77, np.uint8)
    image = memory[guard:-guard].reshape(height, width, 3)
    annotator = PoseAnnotator(
        width, height, boxes=bool(options & 1), ids=bool(options & 2), frame_counter=bool(options & 4)
    )
    annotator.draw(image, tracks)
    assert (memory[:guard] == 77).all()
    assert (memory[-guard:] == 77).all()


def test_a_person_is_drawn_in_the_colour_of_the_id(
    make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    for first_id in range(1, 13):
        image = backdrop(320, 240)
        PoseAnnotator(320, 240).draw(image, make_tracks(320, 240, [(160, 60, 160)], first_id=first_id))
        assert (image == np.array(color_of(first_id), np.uint8)).all(axis=2).sum() > 20


def test_everyone_is_labelled_inside_the_frame_even_who_is_half_outside(
    make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    people = [(0, -60, 200), (320, -60, 200), (0, 180, 200), (320, 180, 200)]
    tracks = make_tracks(320, 240, people)
    unlabelled, labelled = backdrop(320, 240), backdrop(320, 240)
    PoseAnnotator(320, 240, ids=False).draw(unlabelled, tracks)
    PoseAnnotator(320, 240).draw(labelled, tracks)
    changed = (unlabelled != labelled).any(axis=2)
    for rows in (slice(0, 120), slice(120, 240)):
        for columns in (slice(0, 160), slice(160, 320)):
            assert changed[rows, columns].sum() > 80


@pytest.mark.parametrize("place", [(-500, 40, 100), (160, 900, 100), (3e30, 3e30, 50)])
def test_who_is_outside_gets_no_label(
    place: tuple[float, float, float],
    make_tracks: Callable[..., Tracks],
    backdrop: Backdrop,
) -> None:
    image, before = backdrop(320, 240), backdrop(320, 240)
    PoseAnnotator(320, 240).draw(image, make_tracks(320, 240, [place]))
    assert np.array_equal(image, before)


def test_limbs_need_both_ends(make_tracks: Callable[..., Tracks], backdrop: Backdrop) -> None:
    tracks = make_tracks(320, 240, [(160, 20, 200)])
    scores = np.zeros_like(tracks.keypoint_scores)
    scores[0, [13, 14]] = 0.9  # the knees alone: two joints, no limb
    image, before = backdrop(320, 240), backdrop(320, 240)
    PoseAnnotator(320, 240, ids=False).draw(image, replace(tracks, keypoint_scores=scores))
    changed = (image != before).any(axis=2)
    knees = tracks.keypoints[0, [13, 14]].round().astype(int)
    assert all(changed[y, x] for x, y in knees)
    assert not changed[:, 157:163].any()
    assert changed.sum() < 150


@pytest.mark.parametrize(
    ("score", "drawn"), [(0.29, False), (0.3, True), (0.9, True), (1.2, True), (np.nan, False)]
)
def test_keypoints_under_the_threshold_are_not_drawn(
    score: float, drawn: bool, make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    tracks = replace(
        make_tracks(320, 240, [(160, 20, 200)], score=score), xyxy=np.full((1, 4), np.nan, np.float32)
    )
    image, before = backdrop(320, 240), backdrop(320, 240)
    PoseAnnotator(320, 240, ids=False, keypoint_threshold=0.3).draw(image, tracks)
    assert (image != before).any() == drawn


def test_a_person_without_keypoints_is_marked_at_the_box(
    make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    tracks = make_tracks(320, 240, [(160, 20, 200)])
    tracks = replace(
        tracks,
        keypoints=np.full_like(tracks.keypoints, np.nan),
        keypoint_scores=np.zeros_like(tracks.keypoint_scores),
    )
    image, before = backdrop(320, 240), backdrop(320, 240)
    PoseAnnotator(320, 240, ids=False).draw(image, tracks)
    changed = (image != before).any(axis=2)
    left, top, right, bottom = tracks.xyxy[0].round().astype(int)
    assert all(changed[y, x] for y in (top, bottom) for x in (left, right))
    assert not changed[(top + bottom) // 2].any()


def test_boxes_are_drawn_only_when_asked_for(make_tracks: Callable[..., Tracks], backdrop: Backdrop) -> None:
    tracks = make_tracks(320, 240, [(160, 20, 200)])
    for boxes in (False, True):
        image, before = backdrop(320, 240), backdrop(320, 240)
        PoseAnnotator(320, 240, boxes=boxes, ids=False).draw(image, tracks)
        x = round(float(tracks.xyxy[0, 0]))
        assert (image[60:180, x] != before[60:180, x]).any(axis=1).all() == boxes


def test_the_frame_counter_stands_in_the_corner_only_when_asked_for(
    make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    nobody = make_tracks(320, 240, [])
    for counter in (False, True):
        image, before = backdrop(320, 240), backdrop(320, 240)
        PoseAnnotator(320, 240, frame_counter=counter).draw(image, nobody)
        changed = (image != before).any(axis=2)
        assert changed.any() == counter
        assert not changed[40:].any()
        assert not changed[:, 160:].any()


def test_interpolated_frames_look_like_the_others(
    make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    tracks = make_tracks(320, 240, [(100, 20, 200), (220, 40, 150)])
    one, two = backdrop(320, 240), backdrop(320, 240)
    PoseAnnotator(320, 240).draw(one, tracks)
    PoseAnnotator(320, 240).draw(two, replace(tracks, interpolated=True))
    assert np.array_equal(one, two)


def test_a_crop_of_a_larger_picture_is_drawn_in_place(
    make_tracks: Callable[..., Tracks], backdrop: Backdrop
) -> None:
    tracks = make_tracks(320, 240, [(160, 20, 200)])
    plain, large = backdrop(320, 240), np.zeros((300, 400, 3), np.uint8)
    large[20:260, 30:350] = plain
    PoseAnnotator(320, 240).draw(large[20:260, 30:350], tracks)
    PoseAnnotator(320, 240).draw(plain, tracks)
    assert np.array_equal(large[20:260, 30:350], plain)
    large[20:260, 30:350] = 0
    assert not large.any()


def test_many_ids_do_not_grow_the_memory(make_tracks: Callable[..., Tracks], backdrop: Backdrop) -> None:
    annotator, image = PoseAnnotator(320, 240), backdrop(320, 240)
    for first in range(1, 400, 20):
        annotator.draw(image, make_tracks(320, 240, [(160, 20, 200)] * 20, first_id=first))
    assert len(annotator._stamps) <= 256


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((240, 321, 3), np.uint8),
        np.zeros((240, 320), np.uint8),
        np.zeros((240, 320, 3), np.float32),
        np.frombuffer(bytes(240 * 320 * 3), np.uint8).reshape(240, 320, 3),
    ],
    ids=["size", "grey", "float", "read-only"],
)
def test_another_kind_of_image_is_refused(image: Pixels, make_tracks: Callable[..., Tracks]) -> None:
    with pytest.raises(ValueError, match="expected a writable uint8 image"):
        PoseAnnotator(320, 240).draw(image, make_tracks(320, 240, []))


def test_a_frame_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="0x240"):
        PoseAnnotator(0, 240)
