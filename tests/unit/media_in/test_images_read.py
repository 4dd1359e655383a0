"""Still images: one, many, damaged, turned, deep, with alpha or a palette."""

from __future__ import annotations

import struct
import threading
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import (
    FormatNotAllowed,
    InputError,
    InvalidParameters,
    NotAVideo,
    PoseTaskError,
    TooManyPixels,
    Truncated,
)
from posetask.media.headers import read_header
from posetask.media.images import ImageReader
from posetask.media.limits import MediaLimits
from posetask.media.orientation import Orientation
from posetask.media.probe import probe


@pytest.fixture(scope="module")
def picture(tools):
    return tools.draw(77, 160, 120)[..., ::-1].copy()  # BGR


def write(path, image, *options):
    assert cv2.imwrite(str(path), image, list(options))
    return path


def exif(orientation, order="<"):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_with_exif(path, image, orientation, order="<"):
    data = simplejpeg.encode_jpeg(image, 95, "BGR")
    body = b"Exif\0\0" + exif(orientation, order)
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    return path


def one(path, **options):
    with ImageReader([path], **options) as reader:
        (frame,) = list(reader)
    return frame, reader


def palette_png(path):
    frame = av.VideoFrame.from_ndarray(np.full((16, 24, 3), (200, 40, 40), np.uint8), "rgb24")
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "rgb24"
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    plain = zlib.compress(b"".join(b"\0" + bytes([1] * 24) for _ in range(16)))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 24, 16, 8, 3, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", bytes([0, 0, 0, 200, 40, 40]))
        + chunk(b"IDAT", plain)
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(
    ("name", "tolerance", "codec"),
    [
        ("a.png", 0, "png"),
        ("a.bmp", 0, "bmp"),
        ("a.tif", 0, "tiff"),
        ("a.jpg", 12, "jpeg"),
        ("progressive.jpg", 12, "jpeg"),
        ("lossless.webp", 0, "webp"),
        ("lossy.webp", 12, "webp"),
    ],
)
def test_formats(tmp_path, tools, picture, name, tolerance, codec):
    options = {
        "progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        "lossless.webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
        "lossy.webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
    }.get(name, [])
    path = write(tmp_path / name, picture, *options)
    frame, reader = one(path)
    assert frame.image.shape == (120, 160, 3)
    assert np.abs(frame.image.astype(int) - picture).mean() <= tolerance / 2
    assert tools.read_number(frame.image) == 77
    assert not frame.image.flags.writeable
    assert frame.image.flags.c_contiguous
    info = reader.info
    assert (info.container, info.codec, info.width, info.height) == ("image", codec, 160, 120)
    assert (info.frames_declared, info.time_base, frame.pts, frame.duration) == (1, Fraction(1, 25), 0, 1)
    assert info == probe(path)
    assert not reader.report.damaged
    assert not reader.report.stopped_early
    assert reader.report.frames_decoded == 1


def test_a_wrong_extension_does_not_matter(tmp_path, picture):
    path = tmp_path / "picture.mp4"
    path.write_bytes(write(tmp_path / "a.png", picture).read_bytes())
    np.testing.assert_array_equal(one(path)[0].image, picture)


def test_deep_grey_alpha_and_palette(tmp_path, picture):
    deep = picture.astype(np.uint16) * 257
    np.testing.assert_allclose(one(write(tmp_path / "deep.png", deep))[0].image, picture, atol=1)
    np.testing.assert_allclose(one(write(tmp_path / "deep.tif", deep))[0].image, picture, atol=1)
    grey = picture[..., 1]
    three = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_allclose(one(write(tmp_path / "grey.png", grey))[0].image, three, atol=1)
    np.testing.assert_allclose(one(write(tmp_path / "deep_grey.png", deep[..., 1]))[0].image, three, atol=1)
    np.testing.assert_allclose(one(write(tmp_path / "grey.jpg", grey))[0].image, three, atol=40)
    alpha = np.dstack([picture, np.full((120, 160), 7, np.uint8)])
    np.testing.assert_array_equal(one(write(tmp_path / "alpha.png", alpha))[0].image, picture)
    np.testing.assert_array_equal(one(palette_png(tmp_path / "palette.png"))[0].image[3, 3], (40, 40, 200))


def test_a_print_in_four_inks(tmp_path):
    inks = np.zeros((32, 48, 4), np.uint8)
    inks[:, :24], inks[:, 24:] = (255, 0, 0, 255), (0, 200, 0, 255)  # stored inverted, as Adobe does
    path = tmp_path / "print.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(inks, 95, "CMYK", "444"))
    image = one(path)[0].image
    assert np.abs(image[16, 8].astype(int) - (0, 0, 255)).max() <= 6
    assert np.abs(image[16, 40].astype(int) - (0, 200, 0)).max() <= 6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_turns_a_photograph(tmp_path, picture, tag, order):
    frame, reader = one(jpeg_with_exif(tmp_path / "photo.jpg", picture, tag, order))
    expected = Orientation.from_exif(tag).apply(picture)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 8
    assert (reader.info.width, reader.info.height) == expected.shape[1::-1]
    assert reader.info.rotation == Orientation.from_exif(tag).rotation


def test_exif_in_png_webp_and_tiff(tmp_path, picture):
    expected = np.rot90(picture, -1)
    data = write(tmp_path / "a.png", picture).read_bytes()
    chunk = struct.pack(">I", 26) + b"eXIf" + exif(6) + struct.pack(">I", zlib.crc32(b"eXIf" + exif(6)))
    (tmp_path / "turned.png").write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(one(tmp_path / "turned.png")[0].image, expected)
    data = write(tmp_path / "a.webp", picture, cv2.IMWRITE_WEBP_QUALITY, 101).read_bytes()
    extended = (
        b"VP8X" + struct.pack("<IB3x", 10, 8) + (159).to_bytes(3, "little") + (119).to_bytes(3, "little")
    )
    body = b"WEBP" + extended + data[12:] + b"EXIF" + struct.pack("<I", 26) + exif(6)
    (tmp_path / "turned.webp").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(one(tmp_path / "turned.webp")[0].image, expected)
    rows = picture[..., ::-1].tobytes()
    entries = [(256, 4, 160), (257, 4, 120), (258, 3, 8), (259, 3, 1), (262, 3, 2), (273, 4, 8), (274, 3, 6)]
    entries += [(277, 3, 3), (278, 4, 120), (279, 4, len(rows))]
    tags = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    path = tmp_path / "turned.tif"
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 8 + len(rows))
        + rows
        + struct.pack("<H", len(entries))
        + tags
        + bytes(4)
    )
    np.testing.assert_array_equal(one(path)[0].image, expected)


def test_a_sequence_is_a_video_with_the_given_rate(tmp_path, tools):
    paths = [write(tmp_path / f"{i}.png", tools.draw(i)[..., ::-1]) for i in range(10)]
    with ImageReader(paths, frame_rate=29.97) as reader:
        frames = list(reader)
    assert [tools.read_number(frame.image) for frame in frames] == list(range(10))
    assert [frame.pts for frame in frames] == list(range(10))
    assert reader.info.frame_rate == pytest.approx(29.97, abs=0.001)
    assert reader.info.duration == pytest.approx(10 / 29.97, rel=1e-4)
    assert reader.info.uri == str(tmp_path)
    assert (reader.report.frames_decoded, reader.report.frames_declared) == (10, 10)


def test_parts_of_a_sequence(tmp_path, tools):
    paths = [write(tmp_path / f"{i}.png", tools.draw(i)[..., ::-1]) for i in range(10)]

    def shown(**options):
        with ImageReader(paths, frame_rate=5, **options) as reader:
            return [tools.read_number(frame.image) for frame in reader], reader.report.stopped_early

    assert shown(start=0.6, duration=0.4) == ([3, 4], True)
    assert shown(start=0.7) == (list(range(4, 10)), False)
    assert shown(max_frames=10) == (list(range(10)), False)
    assert shown(max_frames=4) == ([0, 1, 2, 3], True)
    with pytest.raises(InvalidParameters, match="last"):
        ImageReader(paths, frame_rate=5, start=3)
    for options in ({"frame_rate": 0}, {"frame_rate": float("nan")}, {"frame_rate": 5000}, {"start": -1}):
        with pytest.raises(InvalidParameters):
            ImageReader(paths, **options)
    with pytest.raises(InvalidParameters):
        ImageReader([])


def test_stop_and_close(tmp_path, tools):
    paths = [write(tmp_path / f"{i}.png", tools.draw(i)[..., ::-1]) for i in range(5)]
    with ImageReader(paths) as reader:
        next(reader)
        stopper = threading.Thread(target=reader.stop)
        stopper.start()
        stopper.join()
        assert list(reader) == []
    assert reader.report.stopped_early
    reader = ImageReader(paths)
    next(reader)
    reader.close()
    assert reader.report.stopped_early
    assert not reader.report.damaged


def test_images_of_different_sizes_are_refused(tmp_path, picture):
    first, second = write(tmp_path / "a.png", picture), write(tmp_path / "b.png", picture[:100])
    with pytest.raises(InputError, match=r"differ in size: a\.png is 160x120, b\.png is 160x100") as error:
        ImageReader([first, second])
    assert error.value.hint
    # Turned upright they are the same size.
    turned = jpeg_with_exif(tmp_path / "c.jpg", np.rot90(picture).copy(), 6)
    assert len(list(ImageReader([first, turned]))) == 2


def test_damage_is_told(tmp_path, picture, tools):
    good = write(tmp_path / "0.jpg", picture)
    data = good.read_bytes()
    cut, flipped = tmp_path / "1.jpg", tmp_path / "2.jpg"
    cut.write_bytes(data[: len(data) * 6 // 10])
    flipped.write_bytes(tools.flip_bits(data, len(data) // 2, len(data) - 10, 200))
    for path in (cut, flipped):
        frame, reader = one(path)
        assert frame.image.shape == picture.shape
        assert reader.report.damaged
        assert reader.report.corrupt_packets == 1
    broken, headless = tmp_path / "3.png", tmp_path / "4.jpg"
    png = write(tmp_path / "whole.png", picture).read_bytes()
    broken.write_bytes(png[: len(png) // 2])
    headless.write_bytes(data[:30])
    with ImageReader([good, broken, headless, good]) as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == [0, 3]  # the lost ones leave a gap
    assert reader.report.problems == ["2 images cut short or damaged beyond decoding"]
    assert reader.report.corrupt_packets == 2
    for path in (broken, headless):
        with pytest.raises(Truncated):
            ImageReader([path])


def bomb_png():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def test_the_pixel_limit_is_checked_in_the_header(tmp_path, picture):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(bomb_png())
    with pytest.raises(TooManyPixels, match="50000x50000"):
        ImageReader([bomb])
    with pytest.raises(TooManyPixels):
        probe(bomb)
    path = write(tmp_path / "a.jpg", picture)
    with pytest.raises(TooManyPixels, match="160x120"):
        ImageReader([path], limits=MediaLimits(max_pixels=160 * 120 - 1))
    huge = tmp_path / "huge.png"
    huge.write_bytes(write(tmp_path / "a.png", picture).read_bytes())
    with huge.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with pytest.raises(TooManyPixels, match="larger than any image"):
        ImageReader([huge])


def test_what_is_no_image_is_refused(corpus, tmp_path, picture):
    with pytest.raises(NotAVideo):
        ImageReader([corpus("h264.mp4")])
    heic = tmp_path / "photo.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    with pytest.raises(FormatNotAllowed, match="HEIC"):
        ImageReader([heic])
    with pytest.raises(FormatNotAllowed, match="not allowed here"):
        ImageReader([write(tmp_path / "a.bmp", picture)], limits=MediaLimits(images=("jpeg",)))


@given(st.sampled_from(["jpeg", "png", "webp", "bmp", "tiff"]), st.binary(max_size=200))
def test_headers_of_garbage_never_end_in_a_traceback(tmp_path_factory, image_format, garbage):
    path = tmp_path_factory.getbasetemp() / "garbage"
    heads = {
        "jpeg": b"\xff\xd8\xff",
        "png": b"\x89PNG\r\n\x1a\n",
        "webp": b"RIFF\0\0\0\0WEBP",
        "bmp": b"BM",
        "tiff": b"II*\0",
    }
    path.write_bytes(heads[image_format] + garbage)
    try:
        header = read_header(path, image_format)
    except PoseTaskError as error:
        found = error.code
    else:
        found = header.width > 0 and header.height > 0
    assert found in (True, "TRUNCATED")
