"""Pixels: matrices, ranges, depth, high dynamic range, orientation and fields, against the formulas."""

from __future__ import annotations

import math
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.media.colour import Converter
from posetask.media.decode import VideoReader
from posetask.media.hdr import compress, light_to_pq, pq_to_light, tone_map
from posetask.media.orientation import Orientation
from posetask.media.probe import probe

COEFFICIENTS = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}  # Kr, Kb
PATCHES = np.array(
    [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
        (0, 0, 0),
        (128, 128, 128),
        (200, 90, 30),
        (20, 60, 160),
    ],
    np.uint8,
)


def to_yuv(rgb, standard, *, full, depth=8):
    """The formulas of BT.601, BT.709 and BT.2020, written plainly."""
    kr, kb = COEFFICIENTS[standard]
    r, g, b = (rgb[..., i].astype(float) / 255 for i in range(3))
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    scale = 2 ** (depth - 8)
    top = 2**depth - 1
    if full:
        planes = (y * top, cb * top + 128 * scale, cr * top + 128 * scale)
    else:
        planes = ((219 * y + 16) * scale, (224 * cb + 128) * scale, (224 * cr + 128) * scale)
    return [np.clip(np.round(plane), 0, top) for plane in planes]


def frame_of(planes, pixels, *, colorspace=2, color_range=0, trc=2):
    """A decoded frame with these 4:4:4 planes."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixels)
    dtype = np.uint8 if pixels in ("yuv444p", "yuvj444p") else np.dtype("<u2")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // np.dtype(dtype).itemsize), dtype)
        rows[:, :width] = values
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range, frame.color_trc = colorspace, color_range, trc
    return frame


def patches(height=64):
    return np.repeat(np.repeat(PATCHES[None], height, axis=0), 16, axis=1)


@pytest.mark.parametrize(
    ("standard", "tag", "lines"),
    [
        ("601", 5, 64),
        ("601", 6, 64),
        ("709", 1, 64),
        ("2020", 9, 64),
        ("601", 2, 64),
        ("709", 2, 720),
        ("601", 6, 720),
    ],
)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("pixels", "depth"), [("yuv444p", 8), ("yuv444p10le", 10), ("yuv444p12le", 12)])
def test_every_matrix_and_range_gives_the_colours_back(standard, tag, lines, full, pixels, depth):
    rgb = patches(lines)
    planes = to_yuv(rgb, standard, full=full, depth=depth)
    frame = frame_of(planes, pixels, colorspace=tag, color_range=2 if full else 1)
    image = Converter(frame.width, frame.height, 1)(frame)
    error = np.abs(image[..., ::-1].astype(int) - rgb)
    assert error.max() <= 3
    assert error.mean() <= 1


def test_a_range_that_is_not_said_is_the_limited_one():
    rgb = patches()
    limited = frame_of(to_yuv(rgb, "601", full=False), "yuv444p")
    assert np.abs(Converter(128, 64, 1)(limited)[..., ::-1].astype(int) - rgb).max() <= 3
    full = frame_of(to_yuv(rgb, "601", full=True), "yuvj444p")
    assert np.abs(Converter(128, 64, 1)(full)[..., ::-1].astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("tag", [0, 3, 8, 11, 14])
def test_matrices_that_nobody_uses_do_not_fail(tag):
    frame = frame_of(to_yuv(patches(), "601", full=False), "yuv444p", colorspace=tag)
    assert Converter(128, 64, 1)(frame).shape == (64, 128, 3)


# Decoded video against what was drawn: the encoder's own loss is the tolerance.
@pytest.mark.parametrize(
    "name",
    [
        "h264.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "mjpeg.avi", "prores.mov", "alpha.mov", "animated.gif",
        "ten_bit.mp4", "yuv422.mp4", "yuv444.mp4", "gbrp.mkv", "odd.webm", "odd.mp4", "mpeg2.ts",
    ],
)  # fmt: skip
def test_colours_survive_every_codec(corpus, tools, name):
    with VideoReader(corpus(name), threads=1) as reader:
        image = next(reader).image
    tolerance = 40 if name == "animated.gif" else 12  # 256 colours
    for corner, expected in tools.CORNERS.items():
        assert np.abs(np.subtract(tools.corners(image)[corner], expected)).max() <= tolerance


# --- high dynamic range ---


def pq_light(code):
    """SMPTE ST 2084, equation 4.1, one number at a time."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    v = code ** (1 / m2)
    return 10000 * (max(v - c1, 0) / (c2 - c3 * v)) ** (1 / m1)


def pq_code(light):
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    v = (light / 10000) ** m1
    return ((c1 + c2 * v) / (1 + c3 * v)) ** m2


def expected_grey(light):
    """BT.2390's EETF from 1000 to 203 cd/m2, then the inverse of BT.1886; 0 to 255."""
    top = pq_code(1000)
    e, white = min(pq_code(light) / top, 1), pq_code(203) / top
    knee = 1.5 * white - 0.5
    if e > knee:
        t = (e - knee) / (1 - knee)
        e = (
            (2 * t**3 - 3 * t * t + 1) * knee
            + (t**3 - 2 * t * t + t) * (1 - knee)
            + (3 * t * t - 2 * t**3) * white
        )
    return 255 * (pq_light(e * top) / 203) ** (1 / 2.4)


def hlg_light(code):
    """BT.2100 table 5: inverse OETF, OOTF with gamma 1.2 at 1000 cd/m2, for grey."""
    scene = code * code / 3 if code <= 0.5 else (math.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return 1000 * scene**1.2


def grey(code, depth=10):
    level = round((219 * code + 16) * 2 ** (depth - 8))
    return [np.full((32, 48), level, float), np.full((32, 48), 512.0), np.full((32, 48), 512.0)], level


@pytest.mark.parametrize("light", [0, 1, 5, 20, 58, 100, 203, 400, 700, 1000, 4000])
def test_pq_greys_follow_bt2390(light):
    planes, level = grey(pq_code(light) if light else 0)
    image = Converter(48, 32, 1)(frame_of(planes, "yuv444p10le", colorspace=9, color_range=1, trc=16))
    expected = expected_grey(pq_light((level / 4 - 16) / 219))
    assert np.ptp(image.reshape(-1, 3), axis=0).max() == 0
    assert np.abs(image[0, 0].astype(float) - expected).max() <= 1.5


@pytest.mark.parametrize("code", [0.0, 0.1, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0])
def test_hlg_greys_follow_bt2100(code):
    planes, level = grey(code)
    image = Converter(48, 32, 1)(frame_of(planes, "yuv444p10le", colorspace=9, color_range=1, trc=18))
    expected = expected_grey(hlg_light((level / 4 - 16) / 219))
    assert np.abs(image[0, 0].astype(float) - expected).max() <= 1.5


def test_the_table_is_close_to_the_formula_for_all_colours():
    codes = np.random.default_rng(3).uniform(0, 0.75, (4000, 3))
    exact = tone_map(codes, "pq") * 255
    planes = [np.zeros((40, 100))] * 3
    kr, kb = COEFFICIENTS["2020"]
    r, g, b = codes.reshape(40, 100, 3).transpose(2, 0, 1)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    planes = [np.round(v) for v in ((219 * y + 16) * 16, (224 * cb + 128) * 16, (224 * cr + 128) * 16)]
    image = Converter(100, 40, 1)(frame_of(planes, "yuv444p12le", colorspace=9, color_range=1, trc=16))
    error = np.abs(image.reshape(-1, 3)[:, ::-1] - exact)
    assert error.mean() < 1
    assert np.percentile(error, 99) < 8


@given(st.floats(0, 1), st.floats(0, 1))
def test_tone_mapping_keeps_the_order_of_light(a, b):
    low, high = sorted((a, b))
    light = pq_to_light(np.array([low, high]))
    assert light[0] <= light[1]
    assert np.allclose(light_to_pq(light), [low, high], atol=1e-6)
    squeezed = compress(light)
    assert squeezed[0] <= squeezed[1] + 1e-9
    assert squeezed[1] <= 203 + 1e-6
    assert np.all(squeezed <= light + 1e-6)


@pytest.mark.parametrize(("name", "kind"), [("pq.mp4", "pq"), ("hlg.mp4", "hlg")])
def test_hdr_files_are_told_and_mapped(corpus, name, kind):
    assert probe(corpus(name)).hdr == kind
    with VideoReader(corpus(name), threads=1) as reader:
        frames = list(reader)
    assert len(frames) == 4
    assert reader.info.hdr == kind
    # Its greys are brighter than the same codes as SDR: 1000 cd/m2 lie at three quarters of PQ's range.
    assert frames[0].image[-8, -8].min() > 150


# --- orientation ---


def turned(image, name):
    """What numpy says."""
    return {
        "turned_90": lambda: np.rot90(image, 1),  # FFmpeg's angle is counter-clockwise
        "turned_180": lambda: np.rot90(image, 2),
        "turned_270": lambda: np.rot90(image, 3),
        "mirrored": lambda: image[:, ::-1],
        "mirrored_90": lambda: np.rot90(image, 1)[:, ::-1],  # and mirrors after turning
    }[name]()


@pytest.mark.parametrize(
    ("name", "rotation"),
    [
        ("turned_90.mp4", 270),
        ("turned_90.mkv", 270),
        ("turned_180.mp4", 180),
        ("turned_270.mp4", 90),
        ("mirrored.mp4", 0),
        ("mirrored_90.mp4", 90),
    ],
)
def test_pictures_are_turned_upright(corpus, tools, name, rotation):
    with VideoReader(corpus(name), threads=1) as reader:
        image, info = next(reader).image, reader.info
    expected = turned(tools.draw(0), name.split(".")[0])
    assert image.shape == expected.shape == (info.height, info.width, 3)
    assert np.abs(image[..., ::-1].astype(int) - expected).mean() < 12
    assert info.rotation == rotation
    assert probe(corpus(name)).rotation == rotation


@pytest.mark.parametrize("tag", range(10))
def test_exif_orientations(tag):
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    upright = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }.get(tag, lambda a: a)
    orientation = Orientation.from_exif(tag)
    np.testing.assert_array_equal(orientation.apply(stored), upright(stored))
    assert orientation.size(3, 2) == upright(stored).shape[1::-1]
    # Mirrored pictures: their mirror image, turned by the rotation, is upright.
    source = stored[:, ::-1] if orientation.mirrored else stored
    np.testing.assert_array_equal(np.rot90(source, -orientation.rotation // 90), upright(stored))


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("scale", [65536, 40000])
def test_display_matrices_say_the_same_as_exif(tag, scale):
    orientation = Orientation.from_exif(tag)
    x, y = (-scale if orientation.flip_x else scale), (-scale if orientation.flip_y else scale)
    a, b, c, d = (0, y, x, 0) if orientation.transpose else (x, 0, 0, y)
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()
    assert Orientation.from_matrix(matrix) == orientation
    assert Orientation.from_matrix(matrix[:20]) == Orientation()


@pytest.mark.parametrize(
    ("degrees", "tag"), [(0, 1), (90, 8), (-90, 6), (180, 3), (-180, 3), (87, 8), (270, 6)]
)
def test_angles_without_a_matrix(degrees, tag):
    assert Orientation.from_angle(degrees) == Orientation.from_exif(tag)


# --- fields ---


def combing(image):
    """How much neighbouring lines differ more than lines of the same parity do."""
    grey = image[..., 1].astype(int)
    return np.abs(np.diff(grey, axis=0)).mean() - np.abs(grey[2:] - grey[:-2]).mean()


def test_interlaced_pictures_are_deinterlaced_one_for_one(corpus):
    path = corpus("interlaced.mp4")
    with av.open(str(path)) as container:
        raw = list(container.decode(video=0))
    assert all(frame.interlaced_frame for frame in raw)
    for threads in (1, 3):
        with VideoReader(path, threads=threads) as reader:
            frames = list(reader)
        assert [frame.pts for frame in frames] == [frame.pts for frame in raw]
        assert {frame.duration for frame in frames} == {512}
        assert not reader.report.damaged
        for frame, stored in zip(frames[2:-2], raw[2:-2], strict=True):
            assert combing(frame.image) < combing(stored.to_ndarray(format="bgr24")) / 4


def test_large_pictures_are_converted_by_several_threads_alike():
    rgb = cv2.resize(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8), (1920, 1080))
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
    frame.time_base = Fraction(1, 25)
    np.testing.assert_array_equal(Converter(1920, 1080, 1)(frame), Converter(1920, 1080, 3)(frame))
