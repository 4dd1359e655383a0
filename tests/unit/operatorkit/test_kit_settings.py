"""The settings that development and the kit give to the operator are settings that it takes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_operator_takes_the_settings_of_development() -> None:
    from posetask_operator.settings import Settings

    settings = Settings.load(ROOT / "hack" / "kube" / "operator.yaml")
    assert settings.profiles["default"].accelerator == "nvidia.com/gpu"
    assert {"producer", "annotator", "fused"} <= settings.catalogue.keys()


def test_the_operator_takes_the_settings_of_the_kit() -> None:
    from operatorkit.process import settings
    from posetask_operator.settings import Settings

    found = Settings.parse(settings("lane0", "127.0.0.1:1", gpus=None, timings={"progress_every": 10}))
    assert found.timings.progress_every == 10
    assert found.profiles["default"].gpus is None
    assert found.timings.settle == 1
