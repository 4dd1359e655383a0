from pathlib import Path
from typing import Any

import pytest

from posetask.errors import InvalidParameters, SourceNotFound
from posetask_operator.settings import Settings
from posetask_operator.timings import Timings

LEAST = {"installation": "main", "namespace": "posetask"}


def test_every_timing_has_a_unit_a_reason_and_bounds() -> None:
    for name, field in Timings.model_fields.items():
        assert field.description is not None, name
        assert field.description.startswith("seconds; "), name
        assert {type(m).__name__ for m in field.metadata} >= {"Ge", "Le"}, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"installation": "Main"}, "installation"),
        ({"default_profile": "a100"}, "default_profile 'a100'"),
        ({"timings": {"recheck": 0}}, "timings.recheck"),
        ({"timings": {"pod_grace": 10}}, "stage_grace must be less"),
        ({"kafka": {"env": {"POSETASK_KAFKA_PASSWORD": "x"}}}, "belongs into a Secret"),
        ({"kafka": {"env": {"PATH": "x"}}}, "no POSETASK_KAFKA_"),
        ({"stages": {"faces": {"image": "faces:1"}}}, "stages.faces.port"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_setting_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameters, match=said):
        Settings.parse(LEAST | change)


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("installation: main\nnamespace: posetask\nprofiles:\n  default: {gpus: 4}\n")
    assert Settings.load(file).profiles["default"].gpus == 4


@pytest.mark.parametrize("text", ["- a\n", "a: [", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(InvalidParameters):
        Settings.load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"none\.yaml"):
        Settings.load(tmp_path / "none.yaml")


def test_a_namespace_that_is_not_named_has_the_default_grant_or_none() -> None:
    named = {"namespaces": {"lab": {"sources": ["s3://lab/"]}}}
    settings = Settings.parse(LEAST | {"storage": named})
    assert settings.storage.grant("lab") == settings.storage.namespaces["lab"]
    assert settings.storage.grant("other") == settings.storage.default
    closed = Settings.parse(LEAST | {"storage": named | {"default": None}})
    assert closed.storage.grant("other") is None
