"""The burnt-in frame number: what is written is read, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.synth.framecode import LIMIT, code_box, read_frame_number, write_frame_number


def grey(width: int, height: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@given(number=st.integers(0, LIMIT - 1), width=st.integers(128, 2000))
def test_a_number_is_read_back_at_any_width(number: int, width: int) -> None:
    image = grey(width, 120)
    write_frame_number(image, number)
    assert read_frame_number(image) == number


@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize(("width", "height"), [(320, 180), (640, 360), (1920, 1080)])
def test_a_number_survives_jpeg(width: int, height: int, quality: int) -> None:
    rng = np.random.default_rng(1)
    for number in (0, 1, 77, 524_288, LIMIT - 1):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        write_frame_number(image, number)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert read_frame_number(cv2.imdecode(data, cv2.IMREAD_COLOR)) == number


@pytest.mark.parametrize("size", [(1280, 720), (426, 240), (854, 480)])
def test_a_number_survives_scaling(size: tuple[int, int]) -> None:
    image = grey(640, 360)
    write_frame_number(image, 4321)
    assert read_frame_number(cv2.resize(image, size, interpolation=cv2.INTER_AREA)) == 4321


@pytest.mark.parametrize(("width", "height"), [(320, 180), (640, 360)])
def test_every_number_survives_h264_at_crf_23_under_noise(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "coded.mp4"
    rng = np.random.default_rng(5)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for i in range(30):
            image = rng.integers(60, 200, (height, width, 3), np.uint8)
            write_frame_number(image, i * 7919)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(stream.encode())
    with av.open(str(path)) as clip:
        read = [read_frame_number(frame.to_ndarray(format="bgr24")) for frame in clip.decode(video=0)]
    assert read == [i * 7919 for i in range(30)]


def test_drawing_elsewhere_does_no_harm() -> None:
    image = grey(640, 360)
    write_frame_number(image, 99)
    x0, _, _, y1 = code_box(640)
    cv2.rectangle(image, (0, 0), (x0 - 1, 359), (0, 255, 0), -1)
    cv2.rectangle(image, (0, y1), (639, 359), (0, 0, 255), -1)
    assert read_frame_number(image) == 99


def test_a_picture_without_a_number_has_none() -> None:
    rng = np.random.default_rng(0)
    pictures = [grey(640, 360, level) for level in (0, 128, 255)]
    pictures += [rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(200)]
    assert [read_frame_number(p) for p in pictures] == [None] * len(pictures)


def test_a_damaged_number_is_none_rather_than_wrong() -> None:
    for column in range(20):
        image = grey(640, 360)
        write_frame_number(image, 123_456)
        x0, _, x1, _ = code_box(640)
        left = x0 + (x1 - x0) * column // 20
        image[:, left : left + 14] = 255 - image[:, left : left + 14]
        assert read_frame_number(image) is None


@pytest.mark.parametrize(
    ("number", "width", "height"), [(-1, 640, 360), (LIMIT, 640, 360), (1, 100, 100), (1, 640, 12)]
)
def test_what_does_not_fit_is_refused(number: int, width: int, height: int) -> None:
    with pytest.raises(ValueError, match="frame number"):
        write_frame_number(grey(width, height), number)


def test_a_picture_too_small_for_a_code_reads_as_none() -> None:
    assert read_frame_number(grey(100, 100)) is None
    assert read_frame_number(grey(640, 12)) is None
