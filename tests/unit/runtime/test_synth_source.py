"""The synthetic world as a source: the world's own frames, exact times, the same whenever it is read."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import posetask
from posetask.errors import InputError, InvalidParameters, TooLong, TooManyPixels
from posetask.media.limits import MediaLimits
from posetask.runtime.sources import open_source, resolve
from posetask.runtime.stagefactory import build_producer
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages import StageContext
from posetask.synth.uri import parse
from posetask.synth.world import World

URI = "synth:people=2,frames=8,seed=7,size=128x96,fps=29.97"


def test_a_world_is_one_source_with_the_worlds_own_frames_and_times() -> None:
    (source,) = resolve(URI)
    assert (source.kind, source.paths, source.name, source.location) == ("video", (), "synth-7", URI)
    world = World(parse(URI))
    with open_source(source) as reader:
        assert reader.info.time_base == Fraction(1001, 30000) or reader.info.frame_rate == pytest.approx(
            29.97
        )
        assert (reader.info.width, reader.info.height, reader.info.frames_declared) == (128, 96, 8)
        frames = list(reader)
    assert [(f.pts, f.duration) for f in frames] == [(i, 1) for i in range(8)]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, world.frame(i)[0])
        assert not frame.image.flags.writeable
    assert (reader.report.frames_decoded, reader.report.stopped_early, reader.report.damaged) == (
        8,
        False,
        False,
    )


def test_two_readings_give_the_same_frames() -> None:
    one, two = (list(open_source(resolve(URI)[0])) for _ in range(2))
    assert all((a.image == b.image).all() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("part", "pts", "early"),
    [
        ({"start": 0.08}, [2, 3, 4, 5, 6, 7], False),
        ({"duration": 0.08}, [0, 1], True),
        ({"start": 0.04, "duration": 0.04}, [1], True),
        ({"max_frames": 3}, [0, 1, 2], True),
        ({"max_frames": 99, "duration": 99.0}, [0, 1, 2, 3, 4, 5, 6, 7], False),
    ],
)
def test_a_part_keeps_the_times_of_the_whole(part: dict[str, float], pts: list[int], early: bool) -> None:
    (source,) = resolve(URI.replace("29.97", "25"))
    with open_source(source, **part) as reader:  # type: ignore[arg-type]
        assert [frame.pts for frame in reader] == pts
    assert reader.report.stopped_early is early


@pytest.mark.parametrize(
    ("uri", "part", "error", "words"),
    [
        ("synth:peeple=4", {}, InvalidParameters, "unknown key 'peeple'"),
        (URI, {"start": 9.0}, InvalidParameters, "lasts 0.27 s"),
        (URI, {"start": -1.0}, InvalidParameters, "start"),
        (URI, {"limits": MediaLimits(max_pixels=99)}, TooManyPixels, "128x96"),
        (URI, {"limits": MediaLimits(max_seconds=0.1)}, TooLong, "at most"),
    ],
)
def test_what_is_refused_says_what_to_do(
    uri: str, part: dict[str, object], error: type[InputError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        open_source(resolve(uri)[0], **part)  # type: ignore[arg-type]
    assert caught.value.hint


def test_a_reader_can_be_stopped_from_elsewhere() -> None:
    with open_source(resolve(URI)[0]) as reader:
        next(reader)
        threading.Thread(target=reader.stop).run()
        assert list(reader) == []
    assert (reader.report.frames_decoded, reader.report.stopped_early) == (1, True)


def test_a_path_of_such_a_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("synth:people=4").write_bytes(b"nothing")
    assert resolve("./synth:people=4")[0].paths == (Path("synth:people=4"),)
    assert resolve(Path("synth:people=4"))[0].uri is None


def test_a_run_of_a_world_leaves_all_its_frames(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    models = {"detector": str(tiny_models[0]), "pose": str(tiny_models[1])}
    summary = posetask.run("synth:people=1,frames=12,size=321x181,fps=12.5", output, **models).wait()
    assert (summary.frames_declared, summary.frames_decoded, summary.frames_annotated) == (12, 12, 12)
    assert (summary.source, summary.warnings) == ("synth-0", [])
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
    assert times == pytest.approx([i / 12.5 for i in range(12)])


def test_a_producer_that_takes_over_emits_the_same_frames() -> None:
    spec = StageProcessSpec(run="a", stage="producer", source=URI, max_frames=5)
    first, second = (list(build_producer(spec, StageContext("a"))[0].produce()) for _ in range(2))
    assert [frame.header for frame in first] == [frame.header for frame in second]
    assert all((a.image == b.image).all() for a, b in zip(first, second, strict=True))
