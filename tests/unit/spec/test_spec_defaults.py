"""What is not said means the same for ever: the defaults of v1alpha1 against a list kept by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from posetask.spec import PoseTaskSpec
from posetask.spec.crd import spec_schema

DEFAULTS = yaml.safe_load((Path(__file__).parent / "defaults.yaml").read_text())
Object = dict[str, Any]


def test_the_models_have_the_defaults_of_the_version() -> None:
    given = {"source": {"uri": "synth:x"}, "stages": [{"name": "own", "accelerator": {}}]}
    made = PoseTaskSpec.model_validate(given).wire()
    del made["source"]["uri"], made["stages"][0]["name"], made["stages"][0]["parameters"]
    assert made == DEFAULTS


def filled(schema: Object) -> Object:
    """What the API server makes of empty sections."""
    made: Object = {}
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        if "properties" in inner:
            below = filled(inner)
            if below:
                made[name] = [below] if "items" in field else below
        elif "default" in field:
            made[name] = field["default"]
    return made


def test_the_definition_has_them_too() -> None:
    assert filled(spec_schema()) == DEFAULTS
