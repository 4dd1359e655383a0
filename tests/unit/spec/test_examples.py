"""The examples: each is a PoseTask that the operator would admit, given what its comments ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from posetask.spec import PoseTask
from posetask_operator.core.layout import Layout, resolve
from posetask_operator.settings import Settings

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
SETTINGS = Settings.parse(
    {
        "installation": "main",
        "namespace": "posetask",
        "image": "posetask/stage:1",
        "profiles": {"default": {}, "gpu": {"accelerator": "nvidia.com/gpu", "gpus": 8}},
        "stages": {
            "brightness": {
                "image": "example/brightness:1",
                "port": 8110,
                "inputs": ["raw_frames"],
                "output": "brightness",
                "parameters": {"properties": {"every_pixel": {"type": "integer", "minimum": 1}}},
            }
        },
        "storage": {
            "root": "s3://results",
            "default": {
                "sources": ["s3://videos/", "rtsp://cameras.example.com/", "https://videos.example.com/"],
                "outputs": ["s3://results/lobby/"],
            },
        },
    }
)


def test_there_are_examples_and_the_first_needs_nothing() -> None:
    assert len(EXAMPLES) >= 6
    demo = PoseTask.read(yaml.safe_load(EXAMPLES[0].read_text()))
    assert demo.metadata.name == "demo"
    assert demo.spec.source.uri.startswith("synth:")
    alone = Settings.parse(
        {
            "installation": "main",
            "namespace": "posetask",
            "image": "posetask/stage:1",
            "storage": {"root": "s3://results"},
        }
    )
    layout = resolve(demo.spec, "default", alone)
    assert isinstance(layout, Layout), layout
    assert layout.gpus == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_one_that_the_operator_would_admit(path: Path) -> None:
    task = PoseTask.read(yaml.safe_load(path.read_text()))
    layout = resolve(task.spec, "default", SETTINGS)
    assert isinstance(layout, Layout), layout


def test_the_words_about_gpus_are_true() -> None:
    task = PoseTask.read(yaml.safe_load((EXAMPLES[3]).read_text()))
    layout = resolve(task.spec, "default", SETTINGS)
    assert isinstance(layout, Layout)
    assert (layout.gpus, layout.partitions) == (5, 3)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_list_of_examples_names_it(path: Path) -> None:
    assert f"]({path.name})" in (path.parent / "README.md").read_text()
