"""Facts to plan with: settings of a small installation, and a task of it as seen at a moment."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from posetask.spec import PoseTaskSpec, PoseTaskStatus
from posetask_operator.core.observed import FINALIZER, KafkaSeen, Observed, TaskSeen
from posetask_operator.settings import Settings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
UID = "1f2e3d4c-9a7b-4c5d-8e6f-001122334455"
SETTINGS: dict[str, Any] = {
    "installation": "main",
    "namespace": "posetask",
    "image": "posetask/stages:1",
    "profiles": {"default": {"accelerator": "nvidia.com/gpu", "gpus": 4}, "cpu": {"tasks": 2}},
    "storage": {"root": "s3://results", "default": {"sources": ["s3://uploads/"], "outputs": ["s3://out/"]}},
}


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Settings with some values in the place of those above."""

    def make(**given: Any) -> Settings:
        return Settings.parse(SETTINGS | given)

    return make


@pytest.fixture
def settings() -> Settings:
    """Of an installation with one profile of 4 GPUs."""
    return Settings.parse(SETTINGS)


@pytest.fixture
def make_task() -> Callable[..., TaskSeen]:
    """A task, as stored; what is given goes over its spec."""

    def make(spec: dict[str, Any] | None = None, **given: Any) -> TaskSeen:
        body: dict[str, Any] = {"source": {"uri": "synth:frames=100"}} | (spec or {})
        task = TaskSeen(
            namespace="lab",
            name="demo",
            uid=UID,
            resource_version="7",
            generation=1,
            created=START,
            spec=PoseTaskSpec.model_validate(body),
            status=PoseTaskStatus(),
            finalizers=(FINALIZER,),
        )
        return replace(task, **given)

    return make


@pytest.fixture
def make_seen(make_task: Callable[..., TaskSeen]) -> Callable[..., Observed]:
    """An observation of such a task, with all brokers up and nothing there."""

    def make(task: TaskSeen | None = None, **given: Any) -> Observed:
        kafka = KafkaSeen(groups=frozenset())
        values: dict[str, Any] = {"now": START, "secrets": frozenset(), "kafka": kafka} | given
        return Observed(task=task or make_task(), **values)

    return make
