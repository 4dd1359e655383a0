from __future__ import annotations

from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.models.imageops import Letterbox, Normaliser, Spares, crop_matrix, crop_scale

sides = st.integers(1, 5000)
paddings = st.sampled_from(["top-left", "centre"])
roundings = st.sampled_from(["floor", "nearest"])


@given(sides, sides, st.sampled_from([(416, 416), (640, 640), (192, 192), (512, 256)]), paddings, roundings)
def test_a_letterboxed_picture_lies_inside_and_touches_a_side(w, h, into, padding, rounding):
    box = Letterbox.fit((w, h), into, padding, rounding)
    assert 1 <= box.width <= into[0]
    assert 1 <= box.height <= into[1]
    assert 0 <= box.left <= into[0] - box.width
    assert 0 <= box.top <= into[1] - box.height
    # int() may lose the last pixel of a side that should be full
    assert box.width >= into[0] - 1 or box.height >= into[1] - 1


@given(
    st.integers(8, 4000),
    st.integers(8, 4000),
    paddings,
    roundings,
    st.lists(st.floats(-500, 4500), min_size=4, max_size=4),
)
def test_boxes_return_to_the_frame(w, h, padding, rounding, xyxy):
    box = Letterbox.fit((w, h), (416, 416), padding, rounding)
    there = np.array([xyxy])
    there = there * np.array([box.scale_x, box.scale_y, box.scale_x, box.scale_y])
    there = there + np.array([box.left, box.top, box.left, box.top])
    np.testing.assert_allclose(box.to_frame(there), [xyxy], atol=1e-9)


@pytest.mark.parametrize(
    ("size", "rounding", "expected"),
    [
        ((960, 540), "floor", (416, 234)),
        ((1000, 333), "floor", (416, 138)),  # 138.528
        ((1000, 333), "nearest", (416, 139)),
        ((3, 4000), "floor", (1, 416)),  # 0.312 of a pixel is still a pixel
        ((416, 416), "floor", (416, 416)),
        ((100, 50), "floor", (416, 208)),  # small pictures grow
    ],
)
def test_the_resized_size_is_that_of_the_reference(size, rounding, expected):
    box = Letterbox.fit(size, (416, 416), "top-left", rounding)
    assert (box.width, box.height) == expected


boxes = st.tuples(st.floats(-200, 2000), st.floats(-200, 2000), st.floats(0.5, 900), st.floats(0.5, 900)).map(
    lambda b: np.array([[b[0], b[1], b[0] + b[2], b[1] + b[3]]])
)


@given(boxes, st.sampled_from([(192, 256), (288, 384), (96, 128)]))
def test_a_crop_holds_its_box_in_the_middle_with_the_inputs_aspect(xyxy, into):
    width, height = into
    (centre,), (size,) = crop_scale(xyxy, width / height, 1.25)
    assert size[0] / size[1] == pytest.approx(width / height)
    side = xyxy[0, 2:] - xyxy[0, :2]
    assert (size >= side * 1.25 - 1e-6).all()
    assert np.isclose(size, side * 1.25).any()
    matrix = crop_matrix(centre, size, width, height)
    assert matrix @ [*centre, 1] == pytest.approx([width / 2, height / 2], abs=1e-6)
    assert matrix @ [*(centre - size / 2), 1] == pytest.approx([0, 0], abs=1e-6)
    assert matrix @ [*(centre + size / 2), 1] == pytest.approx([width, height], abs=1e-6)


def test_the_crop_is_bilinear_sampling_by_hand(reference: ModuleType):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 1.5)
    for box in ((10.3, 5.2, 41.7, 50.1), (-12.0, 20.0, 30.5, 58.0), (60.0, 30.0, 95.0, 80.0)):
        xyxy = np.array([box])
        (centre,), (size,) = crop_scale(xyxy, 24 / 32, 1.25)
        got = cv2.warpAffine(image, crop_matrix(centre, size, 24, 32), (24, 32), flags=cv2.INTER_LINEAR)
        # a grey level: OpenCV rounds, and before version 5 works in fixed point
        assert np.abs(got - reference.bilinear(image, box, 24, 32)).max() <= (
            0.6 if cv2.__version__ >= "5" else 3
        )


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("colour", ["BGR", "RGB"])
@pytest.mark.parametrize("norm", [None, ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))])
def test_normalising_is_the_formula_per_channel(channels, colour, norm):
    image = np.random.default_rng(1).integers(0, 256, (37, 29, channels), np.uint8)
    mean, std = norm or (None, None)
    canvas = np.full((3, 40, 33), -9, np.float32)
    window = canvas[:, 2:39, 1:30]
    Normaliser(colour, mean, std)(image, window, [np.empty((37, 29), np.uint8) for _ in range(channels)])
    wanted = image[:, :, :3].astype(np.float64)
    if colour == "RGB":
        wanted = wanted[:, :, ::-1]
    if norm:
        wanted = (wanted - mean) / std
    np.testing.assert_allclose(window, wanted.transpose(2, 0, 1), atol=1e-6)
    assert (canvas[:, :2] == -9).all()
    assert (canvas[:, :, 30:] == -9).all()


def test_padding_is_normalised_like_pixels():
    plain = Normaliser("BGR").value(114)
    assert plain.shape == (3, 1, 1)
    assert (plain == 114).all()
    normal = Normaliser("RGB", (100, 110, 120), (2, 4, 8)).value(114)
    assert normal.ravel().tolist() == [7.0, 1.0, -0.75]


def test_scratch_is_lent_once_at_a_time_and_used_again():
    made = []
    spares = Spares(lambda: made.append(object()) or made[-1])
    with spares.borrow() as a, spares.borrow() as b:
        assert a is not b
    with spares.borrow() as c:
        assert c in (a, b)
    with pytest.raises(RuntimeError), spares.borrow():
        raise RuntimeError
    with spares.borrow(), spares.borrow():
        assert len(made) == 2
