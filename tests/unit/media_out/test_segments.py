"""The segment writer: what players and a resumed run need of its files."""

from __future__ import annotations

import hashlib
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from posetask.errors import OutputError, OutputExists, StageFailed, StorageFull
from posetask.media.encode import FragmentEncoder
from posetask.media.encodersettings import EncoderSettings
from posetask.media.manifest import INIT, MANIFEST, PLAYLIST, Manifest
from posetask.media.remux import remux
from posetask.media.segments import SegmentWriter


def test_every_segment_plays_alone_and_begins_with_an_idr(tmp_path: Path, kit: SimpleNamespace) -> None:
    manifest = kit.write_stream(tmp_path / "s", [i * 512 for i in range(30)])
    assert [s.frames for s in manifest.segments] == [10, 10, 10]
    for segment in manifest.segments:
        alone = tmp_path / "alone.mp4"
        alone.write_bytes((tmp_path / "s" / INIT).read_bytes() + (tmp_path / "s" / segment.name).read_bytes())
        frames = kit.shown(alone)
        assert [f.number for f in frames] == list(range(segment.first_index, segment.first_index + 10))
        assert frames[0].time == segment.first_pts * manifest.time_base
        with av.open(str(alone)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            packets = [p for p in container.demux(stream) if p.size]
            assert [p.is_keyframe for p in packets] == [True] + [False] * 9
            assert all(p.pts == p.dts for p in packets)


def test_the_manifest_describes_the_files(tmp_path: Path, kit: SimpleNamespace) -> None:
    manifest = kit.write_stream(tmp_path, [i * 512 for i in range(25)], duration=512)
    assert Manifest.load(tmp_path) == manifest
    assert manifest.finished
    assert manifest.frames == 25
    for segment in manifest.segments:
        data = (tmp_path / segment.name).read_bytes()
        assert (segment.bytes, segment.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    ends = [s.end_pts for s in manifest.segments]
    assert ends == [*(s.first_pts for s in manifest.segments[1:]), 25 * 512]
    assert not list(tmp_path.glob(".*")), "temporary files are gone"


def test_segments_come_nearest_to_the_target_length(tmp_path: Path, kit: SimpleNamespace) -> None:
    info = kit.source_info(Fraction(1001, 30000), 30000 / 1001)
    manifest = kit.write_stream(tmp_path, list(range(125)), info, kit.quick(segment_seconds=2.0))
    assert [s.frames for s in manifest.segments] == [60, 60, 5]


def test_a_segment_is_cut_at_its_bound_of_frames(tmp_path: Path, kit: SimpleNamespace) -> None:
    settings = kit.quick(segment_seconds=30.0, max_segment_frames=7)
    manifest = kit.write_stream(tmp_path, [i * 512 for i in range(16)], settings=settings)
    assert [s.frames for s in manifest.segments] == [7, 7, 2]


@pytest.mark.parametrize(("lookahead", "threads"), [(0, 1), (5, 1), (5, 2), (12, 3)])
def test_a_frame_is_in_a_durable_segment_within_the_promised_delay(
    tmp_path: Path, kit: SimpleNamespace, lookahead: int, threads: int
) -> None:
    settings = kit.quick(lookahead=lookahead, threads=threads, max_segment_frames=5, segment_seconds=30.0)
    delays: list[int] = []
    writer = SegmentWriter(
        tmp_path / "s",
        kit.source_info(),
        settings,
        on_segment=lambda s: delays.append(writer.next_index - s.first_index - s.frames),
    )
    for index in range(60):
        writer.write(kit.numbered(index), index * 512, 512)
    assert len(delays) >= 7
    assert max(delays) <= settings.delay_frames
    writer.close()


def test_a_player_follows_the_stream_while_the_run_goes_on(tmp_path: Path, kit: SimpleNamespace) -> None:
    began, seen = threading.Event(), []

    def play() -> None:
        # Else FFmpeg waits for twenty frames to guess the frame rate from.
        options = {"live_start_index": "0", "fpsprobesize": "0", "analyzeduration": "100000"}
        with av.open(str(tmp_path / PLAYLIST), options=options) as container:
            for packet in container.demux(video=0):
                if packet.pts is not None:
                    seen.append(packet.pts * packet.time_base)
                    began.set()

    writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick())
    player = threading.Thread(target=play, daemon=True)
    for index in range(40):
        writer.write(kit.numbered(index), index * 512, 512)
        if len(writer.manifest.segments) == 1 and not player.is_alive():
            player.start()
            assert began.wait(20), "the player shows the first segment before there is a second"
            assert len(seen) <= 10
    writer.close()
    player.join(20)
    assert seen == [Fraction(i, 25) for i in range(40)]


def test_the_caller_may_reuse_the_image_and_give_read_only_or_strided_ones(
    tmp_path: Path, kit: SimpleNamespace
) -> None:
    writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick())
    buffer = np.empty((kit.HEIGHT, kit.WIDTH, 3), np.uint8)
    for index in range(12):
        if index % 3 == 0:
            buffer[:] = kit.numbered(index)
            writer.write(buffer, index * 512, 512)
            buffer[:] = 0
        elif index % 3 == 1:
            frozen = kit.numbered(index)
            frozen.setflags(write=False)
            writer.write(frozen, index * 512, 512)
        else:
            wide = np.zeros((kit.HEIGHT, kit.WIDTH * 2, 3), np.uint8)
            wide[:, ::2] = kit.numbered(index)
            writer.write(wide[:, ::2], index * 512, 512)
    writer.close()
    assert [f.number for f in kit.shown(tmp_path / PLAYLIST)] == list(range(12))


@pytest.mark.parametrize(("width", "height"), [(161, 48), (160, 49), (161, 49)])
def test_an_odd_side_is_made_even_by_repeating_the_last_row_or_column(
    tmp_path: Path, kit: SimpleNamespace, width: int, height: int
) -> None:
    info = kit.source_info(width=width, height=height)
    writer = SegmentWriter(tmp_path / "s", info, kit.quick(crf=1))
    image = np.random.default_rng(0).integers(0, 255, (height, width, 1), np.uint8).repeat(3, axis=2)
    writer.write(image, 0, 512)
    manifest = writer.close()
    even = (width + width % 2, height + height % 2)
    assert (manifest.width, manifest.height) == even
    with av.open(str(tmp_path / "s" / PLAYLIST)) as container:
        luma = kit.plane(next(container.decode(video=0))).astype(int)
    assert luma.shape == even[::-1]
    assert np.abs(luma[:height, :width] - (16 + image[..., 0] * (219 / 255))).max() < 4
    if width % 2:
        assert np.abs(luma[:, -1] - luma[:, -2]).max() < 8
    if height % 2:
        assert np.abs(luma[-1] - luma[-2]).max() < 8


@pytest.mark.parametrize("size", [(2, 2), (1, 1), (3, 17)])
def test_tiny_pictures_are_encoded(tmp_path: Path, kit: SimpleNamespace, size: tuple[int, int]) -> None:
    width, height = size
    writer = SegmentWriter(tmp_path / "s", kit.source_info(width=width, height=height), kit.quick())
    for index in range(3):
        writer.write(np.full((height, width, 3), 80 * index, np.uint8), index * 512, 512)
    writer.close()
    assert remux(tmp_path / "s", tmp_path / "out.mp4").frames == 3


@pytest.mark.parametrize(
    ("height", "matrix", "kr", "kb"),
    [(48, 6, 0.299, 0.114), (718, 6, 0.299, 0.114), (720, 1, 0.2126, 0.0722)],
)
def test_colours_follow_the_matrix_that_the_stream_is_tagged_with(
    tmp_path: Path, kit: SimpleNamespace, height: int, matrix: int, kr: float, kb: float
) -> None:
    blue, green, red = 40.0, 90.0, 220.0
    writer = SegmentWriter(tmp_path, kit.source_info(width=64, height=height), kit.quick(crf=4))
    writer.write(np.full((height, 64, 3), (blue, green, red), np.uint8), 0, 512)
    writer.close()
    with av.open(str(tmp_path / PLAYLIST)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (matrix, 1, 1)
        assert context.color_range == 1
        frame = next(container.decode(video=0))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    wanted = (
        16 + luma * 219 / 255,
        128 + (blue - luma) / (2 * (1 - kb)) * 224 / 255,
        128 + (red - luma) / (2 * (1 - kr)) * 224 / 255,
    )
    for number, value in enumerate(wanted):
        assert abs(kit.plane(frame, number).mean() - value) < 1.5


def test_the_pixel_aspect_is_kept(tmp_path: Path, kit: SimpleNamespace) -> None:
    info = kit.source_info(sample_aspect_ratio=Fraction(64, 45))
    kit.write_stream(tmp_path / "s", [0, 512], info)
    remux(tmp_path / "s", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_settings_give_the_same_bytes(tmp_path: Path, kit: SimpleNamespace, threads: int) -> None:
    contents = []
    for name in ("one", "two"):
        kit.write_stream(tmp_path / name, [i * 512 for i in range(24)], settings=kit.quick(threads=threads))
        remux(tmp_path / name, tmp_path / f"{name}.mp4")
        files = sorted((tmp_path / name).iterdir())
        contents.append(
            {f.name: f.read_bytes() for f in files} | {"mp4": (tmp_path / f"{name}.mp4").read_bytes()}
        )
    assert len(contents[0]) == 7
    assert contents[0] == contents[1]


def test_cut_makes_every_frame_durable_and_keeps_the_times(tmp_path: Path, kit: SimpleNamespace) -> None:
    writer = SegmentWriter(tmp_path / "s", kit.source_info(), kit.quick())
    for index in range(20):
        writer.write(kit.numbered(index), index * 512, 512)
        if index in (3, 4, 12):
            writer.cut()
            assert Manifest.load(tmp_path / "s").frames == index + 1
            writer.cut()  # nothing to do
    writer.close()
    remux(tmp_path / "s", tmp_path / "out.mp4")
    frames = kit.shown(tmp_path / "out.mp4")
    assert [f.number for f in frames] == list(range(20))
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(20)]


def test_a_stream_without_frames_ends_cleanly(tmp_path: Path, kit: SimpleNamespace) -> None:
    writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick())
    manifest = writer.close()
    assert (manifest.frames, manifest.finished, writer.close()) == (0, True, manifest)
    assert (tmp_path / PLAYLIST).read_text().endswith("#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("image", "pts", "said"),
    [
        (np.zeros((48, 158, 3), np.uint8), 512, "expected uint8"),
        (np.zeros((48, 160, 3), np.float32), 512, "expected uint8"),
        (np.zeros((48, 160, 3), np.uint8), 0, "not after the one before"),
        (np.zeros((48, 160, 3), np.uint8), -1, "not after the one before"),
    ],
)
def test_a_frame_that_breaks_the_contract_is_refused(
    tmp_path: Path, kit: SimpleNamespace, image: np.ndarray, pts: int, said: str
) -> None:
    writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick())
    writer.write(kit.numbered(0), 0, 512)
    with pytest.raises(StageFailed, match=said):
        writer.write(image, pts, 512)
    writer.write(kit.numbered(1), 512, 512)  # nothing was taken of it
    writer.abort()
    with pytest.raises(StageFailed, match="closed"):
        writer.write(kit.numbered(2), 1024, 512)


def test_a_folder_that_holds_a_stream_is_not_overwritten(tmp_path: Path, kit: SimpleNamespace) -> None:
    kit.write_stream(tmp_path, [0, 512])
    with pytest.raises(OutputExists, match="resume it"):
        SegmentWriter(tmp_path, kit.source_info())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, kit: SimpleNamespace) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*file"):
        SegmentWriter(tmp_path / "file" / "s", kit.source_info())


def test_times_that_no_mp4_can_hold_are_an_error_in_words(tmp_path: Path, kit: SimpleNamespace) -> None:
    writer = SegmentWriter(tmp_path, kit.source_info(Fraction(1, 90000)), kit.quick())
    writer.write(kit.numbered(0), 0, 0)
    writer.write(kit.numbered(1), 72_000 * 90_000, 0)
    with pytest.raises(OutputError, match=r"the video cannot be written at 72000\.000 s"):
        writer.close()
    with pytest.raises(StageFailed, match="closed"):
        writer.write(kit.numbered(2), 10**12, 0)


def test_a_size_that_h264_cannot_hold_is_an_error_in_words(tmp_path: Path, kit: SimpleNamespace) -> None:
    with pytest.raises(OutputError, match=r"the H\.264 encoder refuses 32768x2"):
        SegmentWriter(tmp_path, kit.source_info(width=32768, height=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"crf": 52},
        {"preset": "placebo"},
        {"threads": 0},
        {"segment_seconds": 0},
        {"max_segment_frames": 0},
        {"x": 1},
    ],
)
def test_settings_are_checked(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        EncoderSettings.model_validate(changes)


class TestResume:
    """A writer that is dropped, and one that goes on."""

    @pytest.mark.parametrize("killed_at", [0, 4, 15, 23, 37])
    def test_every_frame_is_there_once_with_its_time(
        self, tmp_path: Path, kit: SimpleNamespace, killed_at: int
    ) -> None:
        folder, times = tmp_path / "s", [7 + i * 500 + (i % 3) * 40 for i in range(40)]
        writer = SegmentWriter(folder, kit.source_info(), kit.quick(threads=2))
        for index in range(killed_at):
            writer.write(kit.numbered(index), times[index], 0)
        del writer
        durable = Manifest.load(folder).frames
        again = SegmentWriter.resume(folder)
        assert again.next_index == durable <= killed_at
        for index in range(again.next_index, 40):
            again.write(kit.numbered(index), times[index], 0)
        manifest = again.close()
        assert manifest.settings == kit.quick(threads=2)
        for path in (tmp_path / "out.mp4", folder / PLAYLIST):
            if path.suffix == ".mp4":
                remux(folder, path)
            frames = kit.shown(path)
            assert [f.number for f in frames] == list(range(40))
            assert [f.time for f in frames] == [Fraction(t, 12800) for t in times]

    def test_a_process_killed_outright_leaves_a_stream_that_resumes(
        self, tmp_path: Path, kit: SimpleNamespace
    ) -> None:
        script = f"""
            import os, pickle, signal
            from pathlib import Path
            import numpy as np
            from posetask.media.encodersettings import EncoderSettings
            from posetask.media.segments import SegmentWriter
            info = pickle.loads({pickle.dumps(kit.source_info())!r})
            pictures = np.load({str(tmp_path / "pictures.npy")!r})
            settings = EncoderSettings(threads=1, segment_seconds=0.4)
            writer = SegmentWriter(Path({str(tmp_path / "s")!r}), info, settings)
            for index in range(28):
                writer.write(pictures[index], index * 512, 512)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        np.save(tmp_path / "pictures.npy", np.stack([kit.numbered(i) for i in range(40)]))
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=50)
        assert done.returncode == -signal.SIGKILL
        writer = SegmentWriter.resume(tmp_path / "s")
        assert writer.next_index == 20
        for index in range(20, 40):
            writer.write(kit.numbered(index), index * 512, 512)
        writer.close()
        assert [f.number for f in kit.shown(tmp_path / "s" / PLAYLIST)] == list(range(40))

    def test_a_segment_that_was_not_listed_yet_is_written_again(
        self, tmp_path: Path, kit: SimpleNamespace
    ) -> None:
        writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick())
        (tmp_path / "segment_00000.m4s").write_bytes(b"left by a crash between the two renames")
        writer.abort()
        again = SegmentWriter.resume(tmp_path)
        assert again.next_index == 0
        again.write(kit.numbered(0), 0, 512)
        again.close()
        assert [f.number for f in kit.shown(tmp_path / PLAYLIST)] == [0]

    def test_a_damaged_last_segment_is_made_again(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        manifest = kit.write_stream(tmp_path, [i * 512 for i in range(30)])
        last = tmp_path / manifest.segments[-1].name
        data = bytearray(last.read_bytes())
        data[-1] ^= 1
        last.write_bytes(data)
        assert SegmentWriter.resume(tmp_path).next_index == 20
        last.write_bytes(data[:-1])
        assert SegmentWriter.resume(tmp_path).next_index == 20

    def test_the_origin_survives(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick(), rebase=True)
        for index in range(30):
            writer.write(kit.numbered(index), 5000 + index * 512, 512)
        del writer
        again = SegmentWriter.resume(tmp_path)
        for index in range(again.next_index, 30):
            again.write(kit.numbered(index), 5000 + index * 512, 512)
        assert again.close().origin == 5000
        assert [f.time for f in kit.shown(tmp_path / PLAYLIST)] == [Fraction(i, 25) for i in range(30)]

    def test_a_frame_that_is_there_already_is_refused(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        writer = SegmentWriter(tmp_path, kit.source_info(), kit.quick())
        for index in range(25):
            writer.write(kit.numbered(index), index * 512, 512)
        del writer
        again = SegmentWriter.resume(tmp_path)
        with pytest.raises(StageFailed, match="not after the one before"):
            again.write(kit.numbered(again.next_index - 1), (again.next_index - 1) * 512, 512)

    def test_a_finished_stream_is_not_resumed(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        kit.write_stream(tmp_path, [0, 512])
        with pytest.raises(OutputExists, match="finished, with 2 frames"):
            SegmentWriter.resume(tmp_path)

    def test_another_encoder_is_refused(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        SegmentWriter(tmp_path, kit.source_info(), kit.quick()).abort()
        (tmp_path / INIT).write_bytes((tmp_path / INIT).read_bytes() + b"\0")
        with pytest.raises(OutputError, match="begun by another encoder"):
            SegmentWriter.resume(tmp_path)

    @pytest.mark.parametrize("text", [None, "", "{}", '{"version": 2}', "[1"])
    def test_a_missing_or_broken_manifest_is_an_error_in_words(
        self, tmp_path: Path, text: str | None
    ) -> None:
        if text is not None:
            (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(OutputError, match=r"manifest\.json"):
            SegmentWriter.resume(tmp_path)


def test_no_space_is_storage_full_and_what_is_complete_stays(tmp_path: Path, kit: SimpleNamespace) -> None:
    script = f"""
        import pickle, resource
        from pathlib import Path
        import numpy as np
        from posetask.errors import StorageFull
        from posetask.media.encodersettings import EncoderSettings
        from posetask.media.segments import SegmentWriter
        info = pickle.loads({pickle.dumps(kit.source_info())!r})
        pictures = np.load({str(tmp_path / "pictures.npy")!r})
        settings = EncoderSettings(threads=1, segment_seconds=0.4)
        writer = SegmentWriter(Path({str(tmp_path / "s")!r}), info, settings)
        for index in range(40):
            if index == 20:
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            try:
                writer.write(pictures[index], index * 512, 512)
            except StorageFull as error:
                writer.abort()
                print(f"{{error.exit_code}} {{error}}")
                break
    """
    np.save(tmp_path / "pictures.npy", np.stack([kit.numbered(i) for i in range(40)]))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert done.stdout.startswith(f"{StorageFull.exit_code} no space left to write ")
    manifest = Manifest.load(tmp_path / "s")
    assert manifest.frames in (10, 20)
    assert not list((tmp_path / "s").glob(".*")), "the half-written file is gone"
    assert remux(tmp_path / "s", tmp_path / "out.mp4").frames == manifest.frames


def test_the_encoder_begins_with_the_same_bytes_whatever_comes_after(kit: SimpleNamespace) -> None:
    first = FragmentEncoder(kit.source_info(), Fraction(1, 12800), kit.quick(threads=2))
    later = FragmentEncoder(kit.source_info(), Fraction(1, 12800), kit.quick(threads=2), first_fragment=99)
    assert first.init == later.init
    assert first.init[4:8] == b"ftyp"
    first.abandon()
    later.abandon()
