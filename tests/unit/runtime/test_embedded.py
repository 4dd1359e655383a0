"""Whole embedded runs on tiny real graphs: what comes out, what is refused, and nothing half-done is left."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import posetask
from posetask.errors import (
    DamagedInput,
    InputError,
    InvalidParameters,
    OutputExists,
    PoseTaskError,
    StageFailed,
)
from posetask.messages import Message
from posetask.stages import Stage, StageParameters

Models = tuple[Path, Path]


def go(source: Path | str, output: Path | None, models: Models, **options: Any) -> posetask.Summary:
    return posetask.run(source, output, detector=str(models[0]), pose=str(models[1]), **options).wait()


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_two_walkers_are_found_followed_and_written(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    summary = go(red_clip, tmp_path / "out.mp4", tiny_models)
    assert (summary.frames_decoded, summary.frames_annotated, summary.people, summary.tracks) == (
        40,
        40,
        2,
        2,
    )
    assert summary.warnings == []
    assert "copied" in summary.audio
    names = ["out.coco.json", "out.jsonl", "out.mot.txt", "out.mp4", "out.parquet"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names, "all results, and nothing else"
    assert frames_in(tmp_path / "out.mp4") == 40


def test_ids_stay_with_their_walkers_and_keypoints_with_their_ids(
    red_clip: Path, tiny_models: Models
) -> None:
    middles: dict[int, list[float]] = {}
    for frame in posetask.run(red_clip, detector=str(tiny_models[0]), pose=str(tiny_models[1])):
        assert frame.image.shape == (180, 320, 3)
        assert not frame.image.flags.writeable
        for person in frame.people:
            middle = float(person.box[[0, 2]].mean())
            middles.setdefault(person.id, []).append(middle)
            assert person.keypoints.shape == (17, 2)
            assert abs(float(person.keypoints[:, 0].mean()) - middle) < 20
    rising, falling = sorted(middles, key=lambda track: -(middles[track][-1] - middles[track][0]))
    assert middles[rising][-1] - middles[rising][0] > 100
    assert middles[falling][0] - middles[falling][-1] > 100


@pytest.mark.parametrize("every_n", [2, 3, 7, 50])
def test_every_nth_frame_is_analysed_and_the_rest_interpolated(
    every_n: int, red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    summary = go(red_clip, tmp_path / "out.mp4", tiny_models, every_n=every_n)
    assert summary.frames_annotated == 40 == frames_in(tmp_path / "out.mp4")
    table = pq.read_table(tmp_path / "out.parquet")
    frames, marked = table["frame"].to_numpy(), table["interpolated"].to_numpy(zero_copy_only=False)
    assert ((frames % every_n != 0) == marked).all()
    assert set(frames.tolist()) == set(range(40)), "nobody vanishes between analysed frames"


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({"start": 0.4}, 30),
        ({"duration": 0.4}, 10),
        ({"start": 1.0, "duration": 0.2}, 5),
        ({"max_frames": 7}, 7),
    ],
)
def test_a_part_of_the_source(
    options: dict[str, Any], frames: int, red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    summary = go(red_clip, tmp_path / "out.mp4", tiny_models, **options)
    assert summary.frames_annotated == frames == frames_in(tmp_path / "out.mp4")
    assert summary.warnings == []
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert float(next(made.decode(video=0)).time or 0) == 0, "the part begins at once"
        sound = made.streams.audio[0]
        assert float((sound.duration or 0) * (sound.time_base or 0)) == pytest.approx(frames / 25, abs=0.06)


def test_the_wire_codec_is_what_every_stage_sees(red_clip: Path, tiny_models: Models) -> None:
    run = {"detector": str(tiny_models[0]), "pose": str(tiny_models[1]), "max_frames": 3}
    plain = [frame.image for frame in posetask.run(red_clip, **run)]
    coded = [frame.image for frame in posetask.run(red_clip, wire_codec="jpeg:40", **run)]
    assert all(np.abs(a.astype(int) - b).max() > 0 for a, b in zip(plain, coded, strict=True))
    assert all(np.abs(a.astype(int) - b).mean() < 10 for a, b in zip(plain, coded, strict=True))


def test_without_video_and_with_chosen_formats(red_clip: Path, tiny_models: Models, tmp_path: Path) -> None:
    summary = go(red_clip, tmp_path / "out.mp4", tiny_models, video=False, formats=("mot",))
    assert summary.output is None
    assert [p.name for p in tmp_path.iterdir()] == ["out.mot.txt"]


def test_a_kept_stream_plays_and_holds_every_frame(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    go(red_clip, tmp_path / "out.mp4", tiny_models, keep_stream=True, formats=())
    assert frames_in(tmp_path / "out.hls" / "stream.m3u8") == 40


def test_results_say_by_checksum_which_file_they_come_from(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    go(red_clip, tmp_path / "out.mp4", tiny_models, formats=("parquet",))
    said = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[b"posetask"])
    assert said["source_sha256"] == hashlib.sha256(red_clip.read_bytes()).hexdigest()


def test_one_image_becomes_one_image(tiny_models: Models, tmp_path: Path) -> None:
    image = np.full((180, 320, 3), 90, np.uint8)
    image[20:68, 40:88] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "in.png"), image)
    summary = go(tmp_path / "in.png", tmp_path / "out.png", tiny_models, formats=("jsonl",))
    assert (summary.frames_annotated, summary.people) == (1, 1)
    drawn = cv2.imread(str(tmp_path / "out.png"))
    assert drawn.shape == image.shape
    assert (drawn != image).any()
    [line] = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(json.loads(line)["people"]) == 1


@pytest.mark.parametrize("target", ["out.mp4", "out"])
def test_a_folder_of_images_is_one_sequence(target: str, tiny_models: Models, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(12):
        image = np.full((180, 320, 3), 90, np.uint8)
        image[20:68, 40 + 5 * i : 88 + 5 * i] = (0, 0, 255)
        cv2.imwrite(str(tmp_path / "in" / f"{i}.png"), image)
    summary = go(tmp_path / "in", tmp_path / target, tiny_models, frame_rate=10)
    assert (summary.frames_annotated, summary.tracks) == (12, 1)
    if target == "out":
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(f"{i}.png" for i in range(12))
    else:
        with av.open(str(tmp_path / "out.mp4")) as made:
            assert made.streams.video[0].average_rate == 10


def truncate(clip: Path, target: Path) -> Path:
    """The same clip with its index in front, cut in the middle."""
    whole = target.with_suffix(".whole.mp4")
    with av.open(str(clip)) as source, av.open(str(whole), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = whole.read_bytes()
    target.write_bytes(data[: len(data) * 2 // 3])
    whole.unlink()
    return target


def test_a_damaged_source_succeeds_with_a_warning_that_says_what_is_missing(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    clip = truncate(red_clip, tmp_path / "cut.mp4")
    summary = go(clip, tmp_path / "out.mp4", tiny_models, formats=())
    assert 0 < summary.frames_annotated == summary.frames_decoded < 40 == summary.frames_declared
    assert summary.warnings
    assert frames_in(tmp_path / "out.mp4") == summary.frames_annotated


def test_strict_publishes_nothing_of_a_damaged_source(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    clip = truncate(red_clip, tmp_path / "cut.mp4")
    with pytest.raises(DamagedInput, match="--strict"):
        go(clip, tmp_path / "out.mp4", tiny_models, strict=True)
    assert [p.name for p in tmp_path.iterdir()] == ["cut.mp4"]


@pytest.mark.parametrize("existing", ["out.mp4", "out.parquet", "out.coco.json", "out.mot.txt", "out.jsonl"])
def test_existing_results_are_kept_unless_forced(
    existing: str, red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(OutputExists, match="--force"):
        go(red_clip, tmp_path / "out.mp4", tiny_models)
    assert [p.name for p in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"
    go(red_clip, tmp_path / "out.mp4", tiny_models, force=True, max_frames=2)
    assert (tmp_path / existing).read_bytes() != b"mine"


def test_what_cannot_be_is_refused_before_any_work(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    image = tmp_path / "in.png"
    cv2.imwrite(str(image), np.zeros((20, 20, 3), np.uint8))
    table: list[tuple[Path, Path, dict[str, Any], type[PoseTaskError], str]] = [
        (red_clip, red_clip, {"force": True}, InvalidParameters, "is the source itself"),
        (red_clip, tmp_path / "no" / "out.mp4", {}, InvalidParameters, "mkdir -p"),
        (red_clip, tmp_path / "out.avi", {}, InvalidParameters, "out.mp4"),
        (image, tmp_path / "out.mp4", {}, InvalidParameters, "one image makes no video"),
        (red_clip, tmp_path / "out.mp4", {"every_n": 0}, InvalidParameters, "every_n"),
        (red_clip, tmp_path / "out.mp4", {"formats": ("csv",)}, InvalidParameters, "csv"),
        (red_clip, tmp_path / "out.mp4", {"wire_codec": "gif"}, InvalidParameters, "gif"),
        (red_clip, tmp_path / "out.mp4", {"start": 99.0}, InputError, "99"),
        (red_clip, tmp_path / "out.mp4", {"wings": 2}, InvalidParameters, "wings"),
        (tmp_path / "none.mp4", tmp_path / "out.mp4", {}, InputError, "none.mp4"),
    ]
    for source, output, options, kind, words in table:
        with pytest.raises(kind, match=words):
            go(source, output, tiny_models, **options)
        assert [p.name for p in tmp_path.iterdir()] == ["in.png"], (source, output)


def test_leaving_the_loop_early_cancels_and_leaves_nothing(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    run = posetask.run(red_clip, tmp_path / "out.mp4", detector=str(tiny_models[0]), pose=str(tiny_models[1]))
    for frame in run:
        if frame.index == 3:
            break
    with pytest.raises(PoseTaskError, match="stopped"):
        run.wait()
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_a_valid_shorter_result(red_clip: Path, tiny_models: Models, tmp_path: Path) -> None:
    run = posetask.run(red_clip, tmp_path / "out.mp4", detector=str(tiny_models[0]), pose=str(tiny_models[1]))
    seen = 0
    for frame in run:
        seen += 1
        if frame.index == 2:
            run.stop()
    summary = run.wait()
    assert summary.interrupted
    assert 3 <= summary.frames_annotated == seen < 40
    assert summary.warnings == []
    assert frames_in(tmp_path / "out.mp4") == seen
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == seen


def load_example(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = Path(__file__).parents[3] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_a_stage_of_ones_own_runs_beside_the_five(
    red_clip: Path, tiny_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = load_example("brightness", monkeypatch).BrightnessStage
    run = posetask.run(red_clip, stages=[stage], detector=str(tiny_models[0]), pose=str(tiny_models[1]))
    for frame in run:
        said = frame.extra["brightness"]
        assert said.header.index == frame.index
        assert said.mean == pytest.approx(float(frame.image[::4, ::4].mean()))
    assert run.wait().frames_annotated == 40


class NoParameters(StageParameters):
    pass


class Breaking(Stage[NoParameters]):
    name = "breaking"
    description = "fails at frame 5"
    port = 8199
    inputs = ("raw_frames",)
    output = "breaking"
    Parameters = NoParameters

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        if batch[0][0].header.index == 5:
            raise RuntimeError("out of luck")
        return [frame for (frame,) in batch]


def test_a_failing_stage_fails_the_run_and_publishes_nothing(
    red_clip: Path, tiny_models: Models, tmp_path: Path
) -> None:
    run = posetask.run(
        red_clip,
        tmp_path / "out.mp4",
        stages=[Breaking],
        detector=str(tiny_models[0]),
        pose=str(tiny_models[1]),
    )
    with pytest.raises(StageFailed, match="stage breaking failed at frame 5: RuntimeError: out of luck"):
        run.wait()
    assert list(tmp_path.iterdir()) == []
