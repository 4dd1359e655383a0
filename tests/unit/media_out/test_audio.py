"""The source's sound in the MP4: kept, in step with the pictures, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from posetask.media.limits import MediaLimits
from posetask.media.remux import RemuxReport, remux

HALF_A_FRAME = 0.02


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


def annotate(
    tmp_path: Path,
    kit: SimpleNamespace,
    clip: Any,
    part: slice = slice(None),
    rebase: bool = False,
    **options: Any,
) -> tuple[Path, RemuxReport]:
    """What a run does, without the drawing: the clip's frames again, and its sound."""
    output = tmp_path / "out.mp4"
    kit.write_stream(tmp_path / "s", clip.pts[part], clip.info, rebase=rebase)
    return output, remux(tmp_path / "s", output, audio_from=clip.path, **options)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.ts", "clip.flv"])
def test_aac_is_copied_packet_for_packet_and_in_step(
    tmp_path: Path, kit: SimpleNamespace, make_clip: Any, name: str
) -> None:
    clip = make_clip(name)
    output, report = annotate(tmp_path, kit, clip)
    assert (report.audio, report.frames) == ("copied aac", 75)
    if not name.endswith("ts"):  # MPEG-TS wraps each packet in a header of its own
        copied, original = packets(output), packets(clip.path)
        assert copied == original[: len(copied)]
        assert len(original) - len(copied) <= 1
    # The clock of MPEG-TS starts anywhere; there the first frame is at 0.
    shift = float(clip.pts[0] * clip.info.time_base) if name == "clip.ts" else 0.0
    source = [click - shift for click in kit.clicks_in(clip.path)]
    assert len(source) == 3
    assert kit.clicks_in(output) == pytest.approx(source, abs=0.002)
    with av.open(str(output)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.streams.video[0].duration * container.streams.video[0].time_base == 3


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout", "said"),
    [
        ("clip.mkv", "libopus", 48000, "stereo", "opus"),
        ("clip.mp4", "libmp3lame", 44100, "stereo", "mp3"),
        ("clip.avi", "libmp3lame", 48000, "mono", "mp3"),
        ("clip.mkv", "flac", 44100, "mono", "flac"),
        ("clip.mov", "pcm_s16le", 48000, "stereo", "pcm_s16le"),
        ("clip.mkv", "pcm_s16le", 37000, "mono", "pcm_s16le"),
        ("clip.mkv", "ac3", 48000, "5.1", "ac3"),
    ],
)
def test_other_codecs_become_aac_in_step(
    tmp_path: Path,
    kit: SimpleNamespace,
    make_clip: Any,
    name: str,
    codec: str,
    rate: int,
    layout: str,
    said: str,
) -> None:
    clip = make_clip(name, codec, rate=rate, layout=layout)
    output, report = annotate(tmp_path, kit, clip)
    assert report.audio == f"transcoded {said} to aac"
    source = kit.clicks_in(clip.path)
    assert len(source) == 3
    assert kit.clicks_in(output) == pytest.approx(source, abs=HALF_A_FRAME / 2)
    with av.open(str(output)) as container:
        context = container.streams.audio[0].codec_context
        assert (context.name, context.layout.name) == ("aac", "mono" if layout == "mono" else "stereo")
        assert context.sample_rate == (rate if rate in (44100, 48000) else 48000)
        assert container.streams.audio[0].duration * container.streams.audio[0].time_base <= 3.03


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_a_part_of_the_source_takes_its_part_of_the_sound(
    tmp_path: Path, kit: SimpleNamespace, make_clip: Any, codec: str
) -> None:
    clip = make_clip("clip.mkv", codec, clicks=(0.3, 1.1, 1.9, 2.7))
    output, report = annotate(tmp_path, kit, clip, slice(20, 60), rebase=True)  # 0.8 s to 2.4 s
    assert report.frames == 40
    assert kit.clicks_in(output) == pytest.approx([0.3, 1.1], abs=HALF_A_FRAME)
    with av.open(str(output)) as container:
        sound = container.streams.audio[0]
        assert sound.start_time == 0
        assert 1.55 < sound.duration * sound.time_base < 1.65


@pytest.mark.parametrize("codec", ["aac", "flac"])
@pytest.mark.parametrize("offset", [-0.1, 0.7])
def test_sound_that_begins_at_another_time_than_the_pictures_stays_in_step(
    tmp_path: Path, kit: SimpleNamespace, make_clip: Any, codec: str, offset: float
) -> None:
    clip = make_clip("clip.mkv", codec, audio_offset=max(offset, 0.0), clicks=(0.9, 1.7))
    shift = min(offset, 0.0)
    output, _ = annotate(tmp_path, kit, clip, audio_shift=shift)
    wanted = [click + shift for click in kit.clicks_in(clip.path)]
    assert len(wanted) == 2
    assert kit.clicks_in(output) == pytest.approx(wanted, abs=HALF_A_FRAME / 2)


@pytest.mark.parametrize("codec", ["aac", "flac", "libopus"])
def test_a_hole_in_the_sound_does_not_shift_what_follows(
    tmp_path: Path, kit: SimpleNamespace, make_clip: Any, codec: str
) -> None:
    clip = make_clip("clip.mkv", codec, gap=(0.8, 1.2))
    output, _ = annotate(tmp_path, kit, clip)
    assert kit.clicks_in(output) == pytest.approx([0.5, 1.5, 2.5], abs=HALF_A_FRAME)


def test_the_ends_can_be_set(tmp_path: Path, kit: SimpleNamespace, make_clip: Any) -> None:
    clip = make_clip("clip.mkv", "flac")
    output, report = annotate(tmp_path, kit, clip, audio_start=1.0, audio_end=2.0)
    assert report.audio == "transcoded flac to aac"
    assert kit.clicks_in(output) == pytest.approx([1.5], abs=HALF_A_FRAME / 2)


def test_sound_ends_with_the_pictures(tmp_path: Path, kit: SimpleNamespace, make_clip: Any) -> None:
    clip = make_clip(seconds=3.0)
    output, _ = annotate(tmp_path, kit, clip, slice(0, 25))
    with av.open(str(output)) as container:
        sound = container.streams.audio[0]
        assert 0.95 < sound.duration * sound.time_base < 1.05


class TestLeftOut:
    """Why there is no sound stands in the report; the pictures are there all the same."""

    def report(self, tmp_path: Path, kit: SimpleNamespace, source: Path | None, **options: Any) -> str:
        kit.write_stream(tmp_path / "s", [i * 512 for i in range(25)])
        report = remux(tmp_path / "s", tmp_path / "out.mp4", audio_from=source, **options)
        assert report.frames == len(kit.shown(tmp_path / "out.mp4")) == 25
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert not container.streams.audio
        return report.audio

    def test_nobody_asked(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        assert self.report(tmp_path, kit, None) == "none was asked for"

    def test_a_source_with_pictures_only(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        kit.write_stream(tmp_path / "silent", [0, 512])
        remux(tmp_path / "silent", tmp_path / "silent.mp4")
        assert self.report(tmp_path, kit, tmp_path / "silent.mp4") == "the source has none"

    def test_no_such_file(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        said = self.report(tmp_path, kit, tmp_path / "absent.mp4")
        assert said.startswith("left out: the source cannot be opened for its sound")

    def test_no_media_at_all(self, tmp_path: Path, kit: SimpleNamespace) -> None:
        (tmp_path / "in.mp4").write_text("not a video")
        said = self.report(tmp_path, kit, tmp_path / "in.mp4")
        assert said == "left out: a text file is not opened for its sound"

    def test_a_container_outside_the_limits(
        self, tmp_path: Path, kit: SimpleNamespace, make_clip: Any
    ) -> None:
        clip = make_clip("clip.mkv")
        said = self.report(tmp_path, kit, clip.path, limits=MediaLimits(demuxers=("mov",)))
        assert said == "left out: a Matroska or WebM video is not opened for its sound"

    @pytest.mark.parametrize("name", ["in.m3u8", "in.mp4"])
    def test_a_playlist_is_not_followed(
        self, tmp_path: Path, kit: SimpleNamespace, make_clip: Any, name: str
    ) -> None:
        clip = make_clip("real.ts")
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip.path}\n#EXT-X-ENDLIST\n"
        (tmp_path / name).write_text(playlist)
        said = self.report(tmp_path, kit, tmp_path / name)
        assert said == "left out: an HLS or M3U playlist is not opened for its sound"

    def test_nothing_in_this_part(self, tmp_path: Path, kit: SimpleNamespace, make_clip: Any) -> None:
        clip = make_clip("clip.mkv", "flac", audio_offset=2.0, clicks=(2.5,))
        said = self.report(tmp_path, kit, clip.path)
        assert said == "left out: no flac could be decoded in this part of the source"


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_damaged_sound_does_not_fail_the_run(
    tmp_path: Path, kit: SimpleNamespace, make_clip: Any, codec: str
) -> None:
    clip = make_clip("clip.mkv", codec)
    data = bytearray(clip.path.read_bytes())
    for at in range(len(data) // 3, len(data) - 2000, 101):
        data[at] ^= 0xFF
    clip.path.write_bytes(data)
    output, report = annotate(tmp_path, kit, clip)
    assert report.frames == len(kit.shown(output)) == 75
    assert report.audio


def test_truncated_sound_is_kept_as_far_as_it_goes(
    tmp_path: Path, kit: SimpleNamespace, make_clip: Any
) -> None:
    clip = make_clip("clip.mkv", "flac")
    data = clip.path.read_bytes()
    clip.path.write_bytes(data[: len(data) // 2])
    output, report = annotate(tmp_path, kit, clip)
    assert report.audio.startswith("transcoded flac to aac")
    assert kit.clicks_in(output)[0] == pytest.approx(0.5, abs=HALF_A_FRAME / 2)
