"""Sources and outputs by URI: what a stage's specification makes of them, and what a service may name."""

from __future__ import annotations

import gc
import http.server
import json
import threading
from functools import partial
from pathlib import Path

import pytest

import posetask
from posetask.errors import InvalidParameters, NotAvailable, SourceNotFound
from posetask.runtime.publish import claim_output
from posetask.runtime.service.paths import confine
from posetask.runtime.sources import open_source, resolve
from posetask.runtime.stagespec import StageProcessSpec


def spec(**fields: str) -> StageProcessSpec:
    environment = {f"POSETASK_STAGE_{name.upper()}": value for name, value in fields.items()}
    return StageProcessSpec.load(None, {"POSETASK_STAGE_RUN": "a", **environment}, stage="annotator")


def test_an_output_in_a_store_is_written_here_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = spec(output="s3://results/lab/a/über.mp4")
    assert found.output == tmp_path / "posetask" / "a" / "über.mp4"
    assert found.publish == "s3://results/lab/a/über.mp4"
    again = StageProcessSpec.model_validate(json.loads(found.model_dump_json(exclude_defaults=True)))
    assert again == found


@pytest.mark.parametrize(
    ("output", "path"), [("out/a.mp4", "out/a.mp4"), ("file:///out/a%20b.mp4", "/out/a b.mp4")]
)
def test_an_output_on_a_disk_is_a_path(output: str, path: str) -> None:
    found = spec(output=output)
    assert (found.output, found.publish) == (Path(path), None)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("https://a.example/out.mp4", "nothing is written to https"),
        ("gs://bucket/out.mp4", "not known"),
        ("s3://results/lab/", "names no object"),
        ("s3://results/lab", "no name of a video"),
    ],
)
def test_an_output_that_cannot_be_says_what_to_give(output: str, words: str) -> None:
    with pytest.raises(InvalidParameters, match=words):
        spec(output=output)


def test_a_store_needs_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(NotAvailable, match="no credentials"):
        claim_output(spec(output="s3://results/lab/out.mp4"))
    with pytest.raises(NotAvailable, match="no credentials"):
        resolve("s3://videos/walk.mp4")
    with pytest.raises(InvalidParameters, match="publishes nothing"):
        claim_output(spec(output="out.mp4"))


def test_a_file_uri_is_its_file(red_clip: Path) -> None:
    (source,) = resolve(f"file://{red_clip}")
    assert source.paths == (red_clip,)
    with open_source(source, max_frames=1) as reader:
        assert next(reader).pts == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "file:///etc/passwd"},
        {"source": "s3://videos/walk.mp4"},
        {"source": "http://127.0.0.1/x.mp4"},
        {"source": "../walk.mp4"},
        {"output": "s3://results/lab/out.mp4"},
        {"output": "file:///tmp/out.mp4"},
    ],
)
def test_a_service_that_is_confined_to_a_folder_opens_no_uri(
    fields: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidParameters, match=r"outside|no file in"):
        confine(spec(**fields), tmp_path)


def test_a_service_that_is_confined_takes_its_folder_and_worlds(tmp_path: Path) -> None:
    confine(spec(source=f"file://{tmp_path}/a.mp4", output=str(tmp_path / "b.mp4")), tmp_path)
    confine(spec(source="synth:people=2"), tmp_path)


def test_a_run_of_a_video_on_a_server_leaves_no_copy_of_it(
    red_clip: Path, tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("POSETASK_SOURCE_NETWORKS", "127.0.0.0/8")
    handler = partial(Quiet, directory=str(red_clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{red_clip.name}"
        models = {"detector": str(tiny_models[0]), "pose": str(tiny_models[1])}
        run = posetask.run(url, tmp_path / "out.mp4", **models)
        summary = run.wait()
        with pytest.raises(SourceNotFound):
            resolve(url + ".no")
        server.shutdown()
        thread.join()
    assert (summary.source, summary.frames_annotated) == (red_clip.stem, 40)
    assert "copied" in summary.audio, "the sound was there to the end"
    assert len(list(scratch.iterdir())) == 1
    del run
    gc.collect()
    assert list(scratch.iterdir()) == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
