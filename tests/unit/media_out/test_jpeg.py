"""The wire's JPEG: what goes in comes out, within JPEG's loss, and garbage is named."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from posetask.errors import InputError, InvalidParameters, NotAVideo, TooManyPixels, Truncated
from posetask.media.jpeg import MAX_BYTES, WireCodec, decode_jpeg, encode_jpeg
from posetask.media.limits import MediaLimits
from posetask.messages import Image


def smooth(width: int = 64, height: int = 48) -> Image:
    """Gentle gradients of three different kinds, blue, green and red."""
    y, x = np.mgrid[:height, :width]
    planes = (40 + 120 * x / width, 60 + 120 * y / height, 200 - 100 * (x + y) / (width + height))
    return np.stack(planes, axis=2).astype(np.uint8)


@pytest.mark.parametrize("chroma", ["444", "422", "420"])
def test_colours_come_back_in_bgr_order(chroma: Any) -> None:
    image = smooth()
    back = decode_jpeg(encode_jpeg(image, 95, chroma))
    assert (back.shape, back.dtype) == (image.shape, np.uint8)
    assert np.abs(back.astype(int) - image).max() <= 8
    by_opencv = cv2.imdecode(np.frombuffer(encode_jpeg(image, 95, chroma), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(back.astype(int) - by_opencv).max() <= 4


@settings(deadline=None, max_examples=30)
@given(width=st.integers(1, 70), height=st.integers(1, 70), quality=st.integers(1, 100))
def test_any_size_and_quality_keeps_the_shape_and_the_mean(width: int, height: int, quality: int) -> None:
    image = np.full((height, width, 3), (30, 120, 200), np.uint8)
    back = decode_jpeg(encode_jpeg(image, quality))
    assert back.shape == image.shape
    assert np.abs(back.astype(float).mean((0, 1)) - (30, 120, 200)).max() < 30
    if quality >= 90:
        assert np.abs(back.astype(int) - image).max() <= 4


def test_better_quality_is_closer_and_larger() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    sizes, errors = [], []
    for quality in (20, 60, 95):
        data = encode_jpeg(image, quality, "444")
        sizes.append(len(data))
        errors.append(float(np.abs(decode_jpeg(data).astype(int) - image).mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_strided_and_read_only_images_are_taken() -> None:
    image = smooth()
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    wide.setflags(write=False)
    assert encode_jpeg(wide) == encode_jpeg(image)


def test_a_grey_jpeg_becomes_colour() -> None:
    grey = simplejpeg.encode_jpeg(np.full((8, 8, 1), 77, np.uint8), colorspace="GRAY")
    assert decode_jpeg(grey).tolist() == np.full((8, 8, 3), 77).tolist()


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8", b"not a jpeg", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(50)]
)
def test_bytes_that_are_no_jpeg_are_named(data: bytes) -> None:
    with pytest.raises(NotAVideo, match=f"{len(data)} bytes that are no JPEG"):
        decode_jpeg(data)


def test_a_truncated_jpeg_is_named() -> None:
    data = encode_jpeg(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    with pytest.raises(Truncated, match="is damaged"):
        decode_jpeg(data[: len(data) // 2])


@given(st.binary(max_size=200), st.integers(0, 600), st.integers(1, 255))
def test_garbage_never_gives_a_foreign_error(tail: bytes, at: int, flip: int) -> None:
    data = bytearray(encode_jpeg(smooth(16, 16)))
    data[at % len(data)] ^= flip
    for candidate in (bytes(data), bytes(data[: at % len(data)]) + tail, tail):
        try:
            image = decode_jpeg(candidate)
        except InputError:
            continue
        assert image.ndim == 3


def test_a_small_file_that_claims_a_huge_picture_is_refused_before_unpacking() -> None:
    data = bytearray(encode_jpeg(smooth()))
    at = data.index(b"\xff\xc0") + 5  # height and width in the frame header
    data[at : at + 4] = (65000).to_bytes(2, "big") * 2
    with pytest.raises(TooManyPixels, match="65000x65000"):
        decode_jpeg(bytes(data))


def test_the_limits_are_the_callers() -> None:
    with pytest.raises(TooManyPixels):
        decode_jpeg(encode_jpeg(smooth()), limits=MediaLimits(max_pixels=1000))


@pytest.mark.parametrize(("quality", "chroma"), [(0, "420"), (101, "420"), (90, "411")])
def test_parameters_out_of_bounds_are_refused(quality: int, chroma: Any) -> None:
    with pytest.raises(InvalidParameters):
        encode_jpeg(smooth(), quality, chroma)


def test_a_side_that_jpeg_cannot_hold_is_refused() -> None:
    with pytest.raises(TooManyPixels, match="70000x1"):
        encode_jpeg(np.zeros((1, 70000, 3), np.uint8))


class TestWireCodec:
    """The codec by name, as ``--wire-codec`` gives it."""

    @pytest.mark.parametrize(
        ("text", "codec"),
        [
            ("jpeg", WireCodec(90, "420")),
            ("jpeg:75", WireCodec(75, "420")),
            ("jpeg:100:444", WireCodec(100, "444")),
            ("jpeg:1:422", WireCodec(1, "422")),
        ],
    )
    def test_names(self, text: str, codec: WireCodec) -> None:
        assert WireCodec.parse(text) == codec
        assert WireCodec.parse(str(codec)) == codec

    @pytest.mark.parametrize(
        "text", ["", "png", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:9x", "jpeg:90:411", "JPEG:90", "jpeg:90\n"]
    )
    def test_unknown_names(self, text: str) -> None:
        with pytest.raises(InvalidParameters, match="no wire codec"):
            WireCodec.parse(text)

    def test_the_round_trip_is_what_the_other_end_sees(self) -> None:
        codec, image = WireCodec.parse("jpeg:90"), smooth()
        assert np.array_equal(codec.round_trip(image), codec.decode(codec.encode(image)))
        assert codec.encode(image) == encode_jpeg(image, 90)

    def test_a_frame_that_is_too_large_loses_quality_instead(self) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
        codec = WireCodec.parse("jpeg:95:444")
        full = len(codec.encode(noise))
        for share in (0.9, 0.5, 0.2):
            data = codec.encode(noise, max_bytes=int(full * share))
            assert len(data) <= full * share
            assert decode_jpeg(data).shape == noise.shape

    def test_a_frame_that_never_fits_is_refused(self) -> None:
        with pytest.raises(TooManyPixels, match="does not fit into 100 bytes"):
            WireCodec().encode(smooth(), max_bytes=100)

    def test_the_bound_leaves_room_in_a_message_of_8_mib(self) -> None:
        assert 8 * 1024 * 1024 - MAX_BYTES >= 16 * 1024
