"""``status.conditions``: the types that a PoseTask has, and one condition."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from posetask.spec.base import Instant, Int, Part, Text

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """What is said of a task, each True, False or Unknown."""

    ADMITTED = "Admitted"
    """It was given its place and its GPUs."""
    TOPICS_READY = "TopicsReady"
    """Its Kafka topics are there, seen by all brokers."""
    JOBS_CREATED = "JobsCreated"
    """All Jobs of the attempt are there."""
    RUNNING = "Running"
    """Every required stage is ready or has finished."""
    SUCCEEDED = "Succeeded"
    """Unknown until the end; True and False are final."""
    SUSPENDED = "Suspended"
    """It was stopped by spec.suspend and holds nothing."""
    DATA_INTACT = "DataIntact"
    """No frame was lost, damaged or given up so far."""
    CLEANED_UP = "CleanedUp"
    """Topics, groups, Jobs and pods are gone."""


class Condition(Part):
    """One thing said of the task."""

    model_config = ConfigDict(extra="ignore")

    type: Text = Field(
        max_length=63,
        description="What is said: " + ", ".join(ConditionType) + ".",
    )
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Text = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, as one word; docs/troubleshooting.md lists them all.",
    )
    message: Text = Field("", max_length=4096, description="Why, in a sentence, with the values that matter.")
    resolution: Text = Field(
        "", max_length=2048, description="What to do next. Empty where there is nothing to do."
    )
    last_transition_time: Instant = Field(description="When status changed last.")
    observed_generation: Int | None = Field(
        None, ge=0, description="metadata.generation of the specification that this was said of."
    )
