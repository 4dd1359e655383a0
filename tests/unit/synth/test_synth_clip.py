"""Clips and their truth files, and the command that writes them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import typer
from pycocotools.coco import COCO
from typer.testing import CliRunner

from posetask.cli.synth import synth
from posetask.errors import InvalidParameters, OutputError, OutputExists, PoseTaskError
from posetask.messages import COCO_17
from posetask.synth.clip import truth_paths, write_clip
from posetask.synth.framecode import read_frame_number
from posetask.synth.spec import WorldSpec
from posetask.synth.truthfiles import coco_document, mot_lines
from posetask.synth.world import World

SPEC = WorldSpec(seed=3, width=320, height=180, frames=40, people=4, number_code=True)


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "world.mp4"
    write_clip(SPEC, path, crf=23)
    return path


def test_the_clip_is_h264_faststart_with_every_frame_once(clip_path: Path) -> None:
    with av.open(str(clip_path)) as clip:
        stream = clip.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 25
        frames = list(clip.decode(video=0))
    assert [read_frame_number(f.to_ndarray(format="bgr24")) for f in frames] == list(range(40))
    assert [round(float(f.pts * f.time_base) * 25) for f in frames] == list(range(40))
    data = clip_path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_clip_looks_like_the_world(clip_path: Path) -> None:
    world = World(SPEC)
    with av.open(str(clip_path)) as clip:
        for i, frame in enumerate(clip.decode(video=0)):
            if i % 13 == 0:
                difference = np.abs(frame.to_ndarray(format="bgr24").astype(int) - world.frame(i)[0])
                assert difference.mean() < 8


def test_the_mot_file_says_what_the_truth_says(clip_path: Path) -> None:
    rows = np.loadtxt(truth_paths(clip_path)[0], delimiter=",", ndmin=2)
    world = World(SPEC)
    for i in (0, 20, 39):
        truth = world.frame(i)[1]
        mine = rows[rows[:, 0] == i + 1]
        assert mine[:, 1].tolist() == truth.ids.tolist()
        np.testing.assert_allclose(mine[:, 2:4], truth.boxes[:, :2], atol=0.006)
        np.testing.assert_allclose(mine[:, 4:6], truth.boxes[:, 2:] - truth.boxes[:, :2], atol=0.011)
        assert mine[:, 6].tolist() == truth.visible.astype(float).tolist()
        np.testing.assert_allclose(mine[:, 8], truth.visibility, atol=0.0006)


def test_pycocotools_reads_the_coco_file(clip_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = COCO(str(truth_paths(clip_path)[1]))
    assert "index created" in capsys.readouterr().out
    assert len(coco.imgs) == 40
    truth = World(SPEC).frame(12)[1]
    found = coco.loadAnns(coco.getAnnIds(imgIds=[13], iscrowd=None))
    assert [a["track_id"] for a in found] == truth.ids.tolist()
    for n, annotation in enumerate(found):
        points = np.array(annotation["keypoints"]).reshape(17, 3)
        visible = truth.keypoints[n, :, 2] > 0
        np.testing.assert_allclose(points[visible], truth.keypoints[n][visible], atol=0.006)
        assert (points[~visible] == 0).all()
        assert annotation["num_keypoints"] == visible.sum()
        assert annotation["area"] > 0
    assert coco.loadCats([1])[0]["keypoints"] == list(COCO_17.keypoints)


def test_a_hidden_person_is_neither_asked_for_nor_punished() -> None:
    spec = WorldSpec(seed=3, people=14, difficulty="hard", width=320, height=180)
    world = World(spec)
    truths = [world.frame(i)[1] for i in range(0, 100, 10)]
    hidden = [int(not v) for t in truths for v in t.visible]
    assert 0 < sum(hidden) < len(hidden)
    assert [a["iscrowd"] for a in coco_document(spec, truths)["annotations"]] == hidden
    assert [1 - int(line.split(",")[6]) for line in mot_lines(truths)] == hidden


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    truth_paths(path)[0].write_text("mine")
    with pytest.raises(OutputExists, match=r"a\.gt\.txt"):
        write_clip(SPEC, path)
    assert truth_paths(path)[0].read_text() == "mine"
    assert not path.exists()


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(i: int) -> None:
        if i == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_clip(SPEC, tmp_path / "a.mp4", on_frame=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "spec", "error"),
    [
        ("no/such/folder/a.mp4", SPEC, OutputError),
        (".", SPEC, OutputError),
        ("a.mp4", WorldSpec(width=321, height=180), InvalidParameters),
    ],
)
def test_what_cannot_be_written_is_our_error(
    tmp_path: Path, name: str, spec: WorldSpec, error: type[PoseTaskError]
) -> None:
    with pytest.raises(error) as caught:
        write_clip(spec, tmp_path / name)
    assert caught.value.hint


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(synth)
    return app


def test_the_command_writes_clip_and_truth(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    arguments = [
        "-o",
        str(path),
        "--seed",
        "2",
        "--people",
        "2",
        "--frames",
        "4",
        "--size",
        "160x90",
        "--json",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["frames"] == 4
    assert {p.name for p in tmp_path.iterdir()} == {"c.mp4", "c.gt.txt", "c.coco.json"}
    assert json.loads(Path(document["coco"]).read_text())["info"]["world"]["seed"] == 2


def test_the_command_can_leave_the_truth_out_and_speaks_to_people(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    result = CliRunner().invoke(
        app, ["-o", str(path), "--frames", "3", "--size", "160x90", "--no-truth", "--hard", "--still"]
    )
    assert result.exit_code == 0, result.output
    assert "3 frames" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["c.mp4"]


@pytest.mark.parametrize(
    "arguments",
    [["--size", "big"], ["--people", "-3"], ["--frames", "0"], ["--fps", "0"], ["--size", "161x90"]],
)
def test_a_wrong_option_is_our_error(app: typer.Typer, tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["-o", str(tmp_path / "c.mp4"), *arguments])
    assert isinstance(result.exception, InvalidParameters)
    assert result.exception.hint
