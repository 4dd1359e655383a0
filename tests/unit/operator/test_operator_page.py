"""docs/operator.md against what it tells of."""

import re
from pathlib import Path

import pytest

from posetask.spec import ConditionType, Reason
from posetask_operator.core.jobs import permanent_exit_codes
from posetask_operator.core.observed import FINALIZER
from posetask_operator.settings import Settings
from posetask_operator.timings import Timings

PAGE = (Path(__file__).parents[3] / "docs" / "operator.md").read_text()


@pytest.mark.parametrize("name", list(Timings.model_fields))
def test_every_time_stands_there_with_its_default(name: str) -> None:
    assert f"| `{name}` | {Timings.model_fields[name].default} |" in PAGE


@pytest.mark.parametrize("name", ["requeues", "pod_failures", "disruptions"])
def test_bounds_stand_there_with_their_defaults(name: str) -> None:
    assert f"`{name}` ({Settings.model_fields[name].default})" in PAGE


def test_exit_codes_and_finalizer_are_those_of_the_code() -> None:
    codes = permanent_exit_codes()
    assert f"exit {codes[0]}-{codes[-1]}" in PAGE
    assert f"`{FINALIZER}`" in PAGE


def test_reasons_that_it_names_exist() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]+)+)`", PAGE))
    assert {"UnknownStage", "NodeLost", "SecretMissing"} <= named
    assert named - set(Reason) - set(ConditionType) == set()
