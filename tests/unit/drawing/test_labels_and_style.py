"""Sizes, places, glyphs and colours: the pure parts of the picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.drawing import Rect, color_of, label_height, line_width, place_label
from posetask.drawing.annotator import clock
from posetask.drawing.glyphs import CHARACTERS, text_mask, text_width
from posetask.drawing.labels import label_stamp
from posetask.drawing.palette import INK, PALETTE
from posetask.drawing.style import DRAWN
from posetask.messages import COCO_17


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (320, 240, 1),
        (240, 320, 1),
        (480, 270, 1),
        (768, 432, 2),
        (960, 540, 2),
        (1280, 720, 3),
        (1920, 1080, 4),
        (1080, 1920, 4),
        (3840, 2160, 8),
        (7680, 4320, 16),
        (16, 16, 1),
    ],
)
def test_line_width_follows_the_shorter_side(width: int, height: int, expected: int) -> None:
    assert line_width(width, height) == expected == max(1, round(min(width, height) / 270))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (320, 240, 12),
        (480, 270, 12),
        (768, 432, 15),
        (960, 540, 17),
        (1280, 720, 20),
        (1920, 1080, 26),
        (3840, 2160, 44),
        (7680, 4320, 87),
        (16, 16, 12),
    ],
)
def test_label_height_by_frame_size(width: int, height: int, expected: int) -> None:
    assert label_height(width, height) == expected


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_labels_are_never_under_twelve_pixels_or_two_percent(width: int, height: int) -> None:
    label = label_height(width, height)
    assert label >= 12
    assert label >= 0.02 * min(width, height)


rects = st.builds(
    lambda x, y, w, h: Rect(x, y, x + w, y + h),
    st.integers(0, 300),
    st.integers(0, 200),
    st.integers(1, 60),
    st.integers(1, 40),
)


@given(
    x=st.floats(allow_nan=True, allow_infinity=True),
    y=st.floats(allow_nan=True, allow_infinity=True),
    size=st.tuples(st.integers(1, 400), st.integers(1, 300)),
    frame=st.tuples(st.integers(1, 320), st.integers(1, 240)),
    taken=st.lists(rects, max_size=8),
)
def test_no_label_leaves_the_frame(
    x: float, y: float, size: tuple[int, int], frame: tuple[int, int], taken: list[Rect]
) -> None:
    place = place_label((x, y), size, frame, taken)
    fits = size[0] <= frame[0] and size[1] <= frame[1] and bool(np.isfinite([x, y]).all())
    assert (place is not None) == fits
    if place is not None:
        assert (place.right - place.left, place.bottom - place.top) == size
        assert 0 <= place.left < place.right <= frame[0]
        assert 0 <= place.top < place.bottom <= frame[1]


@given(st.integers(30, 290), st.integers(60, 180), st.integers(2, 6))
def test_labels_of_people_in_one_place_do_not_cover_each_other(x: int, y: int, people: int) -> None:
    placed: list[Rect] = []
    for _ in range(people):
        place = place_label((x, y), (16, 12), (320, 240), placed)
        assert place is not None
        assert all(place.overlap(other) == 0 for other in placed)
        placed.append(place)


@given(rects, rects)
def test_overlap_is_what_counting_pixels_says(a: Rect, b: Rect) -> None:
    grid = np.zeros((300, 400), np.int8)
    for rect in (a, b):
        grid[rect.top : rect.bottom, rect.left : rect.right] += 1
    assert a.overlap(b) == b.overlap(a) == int((grid == 2).sum())


@pytest.mark.parametrize("height", [12, 17, 26, 44])
@pytest.mark.parametrize("text", ["1", "12", "4711"])
def test_label_has_its_height_and_readable_text(text: str, height: int) -> None:
    stamp = label_stamp(text, height, (255, 255, 255))
    assert stamp.size[1] == height
    assert stamp.size[0] >= height
    image = np.full((height + 8, stamp.size[0] + 8, 3), 128, np.uint8)
    stamp.onto(image, Rect(4, 4, 4 + stamp.size[0], 4 + height))
    inside = image[6 : height + 2, 8 : stamp.size[0]]
    assert inside.max() >= 250
    assert inside.min() <= 40
    assert (image[:4] == 128).all()
    assert (image[:, :4] == 128).all()


def test_label_edges_are_see_through_only_at_the_corners() -> None:
    stamp = label_stamp("8", 20, (10, 200, 250))
    assert stamp.clear[0, 0, 0] == 256
    assert stamp.clear[10, 10, 0] == 0
    assert int(stamp.ink.max()) <= 255 * 256


@pytest.mark.parametrize("char", [char for char in CHARACTERS if char != " "])
@pytest.mark.parametrize("height", [8, 20])
def test_every_glyph_has_ink_inside_its_box(char: str, height: int) -> None:
    mask = text_mask(char, height)
    assert mask.shape == (height, text_width(char, height))
    assert mask.max() > 0.6
    assert mask.min() >= 0


def test_digits_are_all_different() -> None:
    masks = [text_mask(char, 8) for char in "0123456789"]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert np.abs(a - b).sum() > 2.5


def test_a_sign_without_glyph_is_an_error() -> None:
    with pytest.raises(KeyError):
        text_mask("é", 12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.00"), (59.999, "0:59.99"), (60, "1:00.00"), (3599.995, "59:59.99"), (7325.25, "2:02:05.25")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# Colours -------------------------------------------------------------------------------------------------

Matrix = npt.NDArray[np.float64]
# Machado, Oliveira, Fernandes 2009: linear RGB as seen with protanopia, deuteranopia and tritanopia.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_LMS = np.array(
    [
        [0.41222147, 0.53633254, 0.05144599],
        [0.21190350, 0.68069955, 0.10739696],
        [0.08830246, 0.28171884, 0.62997870],
    ]
)
TO_LAB = np.array(
    [
        [0.21045426, 0.79361779, -0.00407205],
        [1.97799850, -2.42859221, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
)


def linear(color: tuple[int, int, int]) -> Matrix:
    rgb = np.array(color[::-1]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb: Matrix) -> Matrix:
    return TO_LAB @ np.cbrt(TO_LMS @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("vision", VISION)
def test_ids_that_follow_one_another_are_told_apart(vision: str) -> None:
    seen = [oklab(VISION[vision] @ linear(color_of(i))) for i in range(1, 15)]
    assert min(float(np.linalg.norm(a - b)) for a, b in pairwise(seen)) > 0.11
    assert min(float(np.linalg.norm(a - b)) for a, b in zip(seen, seen[2:], strict=False)) > 0.07


def test_dark_text_is_readable_on_every_colour() -> None:
    def luminance(color: tuple[int, int, int]) -> float:
        return float(linear(color) @ [0.2126, 0.7152, 0.0722])

    # WCAG's contrast ratio; 4.5 is its bound for text.
    assert min((luminance(color) + 0.05) / (luminance(INK) + 0.05) for color in PALETTE) >= 4.5


@given(st.integers(-(2**31), 2**31 - 1))
def test_colour_depends_on_the_id_alone(track_id: int) -> None:
    assert color_of(track_id) == color_of(track_id)
    assert color_of(track_id) in PALETTE


# Skeleton ------------------------------------------------------------------------------------------------


def test_the_drawn_skeleton_is_connected_and_mirrored() -> None:
    assert len(COCO_17.keypoints) == 17
    reached, links = {0}, set(DRAWN.links)
    for _ in links:
        reached |= {b for a, b in links if a in reached} | {a for a, b in links if b in reached}
    assert reached == set(range(17))

    def mirror(i: int) -> int:
        name = COCO_17.keypoints[i]
        other = name.replace("left", "#").replace("right", "left").replace("#", "right")
        return COCO_17.keypoints.index(other)

    pairs = {frozenset(link) for link in links}
    assert {frozenset((mirror(a), mirror(b))) for a, b in links} == pairs
