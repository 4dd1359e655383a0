"""``status`` of a PoseTask: what the operator says."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from posetask.spec.base import Bool, Instant, Int, Part, Text, keyed_by
from posetask.spec.conditions import Condition, ConditionType

State = Literal["Pending", "Queued", "Starting", "Running", "Suspended", "Succeeded", "Failed", "Cancelled"]

_SHA256 = r"^[0-9a-f]{64}$"


class _Said(Part):
    # Written by the operator alone. A newer one may say more than this one knows.
    model_config = ConfigDict(extra="ignore")


class Queue(_Said):
    """Where the task waits."""

    position: Int = Field(ge=1, description="1 is next.")
    reason: Text = Field("", max_length=1024, description="What it waits for, in a sentence.")


class Progress(_Said):
    """How far the task is; written every 10 seconds or slower, and only when it changed."""

    frames_total: Int | None = Field(
        None, ge=0, description="Frames of the source; absent when it is live or unknown."
    )
    frames_decoded: Int = Field(0, ge=0, description="Frames that left the producer.")
    frames_annotated: Int = Field(0, ge=0, description="Frames that are in the result.")
    frames_dropped: Int = Field(0, ge=0, description="Frames of a live source that came too fast.")
    frames_quarantined: Int = Field(
        0, ge=0, description="Frames at which a stage died again and again; given up."
    )
    percent: Int | None = Field(None, ge=0, le=100, description="Of framesTotal, rounded down.")
    fps: Text = Field("", max_length=16, description='Frames annotated a second of late, for example "24.8".')
    summary: Text = Field(
        "", max_length=64, description='For people: "85%", or "1200 frames" of a live source.'
    )
    update_time: Instant | None = Field(None, description="When this was written.")


class StageStatus(_Said):
    """One stage of the current attempt."""

    name: Text = Field(max_length=63, description="Name of the stage.")
    job: Text = Field("", max_length=253, description="Its Job.")
    replicas: Int = Field(1, ge=0, description="Pods that it wants.")
    ready: Int = Field(0, ge=0, description="Pods that are ready.")
    complete: Bool = Field(False, description="Whether its Job completed.")
    restarts: Int = Field(0, ge=0, description="Pods that were started anew, in all attempts.")
    frames: Int = Field(0, ge=0, description="Frames that it has done.")
    lag: Int = Field(0, ge=0, description="Records that wait for it.")
    last_exit_code: Int | None = Field(None, description="Of its last pod that failed.")
    last_reason: Text = Field("", max_length=128, description="Why its last pod failed, as one word.")
    last_error: Text = Field("", max_length=1024, description="The last line that its last failed pod left.")


class ModelStatus(_Said):
    """A model as it was pinned at admission."""

    stage: Text = Field(max_length=63, description="Stage that uses it.")
    name: Text = Field(max_length=128, description="Name in the model catalogue.")
    version: Text = Field("", max_length=128, description="Version in the catalogue.")
    sha256: Text = Field("", max_length=64, description="Of the file, in hexadecimal.")


class Result(_Said):
    """What is left of the task."""

    uri: Text = Field(
        max_length=2048, description="The annotated video; without one, the folder of the data files."
    )
    frames: Int = Field(0, ge=0, description="Frames in it.")
    people: Int = Field(0, ge=0, description="Most people in one frame.")
    tracks: Int = Field(0, ge=0, description="Distinct people, as the tracker tells them apart.")
    sha256: Text = Field("", max_length=64, description="Of the file at uri, in hexadecimal.")
    expired_time: Instant | None = Field(None, description="When resultAfterSeconds took it away.")


class PoseTaskStatus(_Said):
    """What the operator says. Decisions are read from attempt, the times and conditions[Succeeded] alone."""

    observed_generation: Int = Field(0, ge=0, description="metadata.generation that this status speaks of.")
    run: Text = Field(
        "",
        max_length=63,
        description="Id of the run: topics, groups, Jobs and the result's folder are named by it.",
    )
    state: State | None = Field(
        None,
        description="For people: Pending, Queued, Starting, Running, Suspended, Succeeded, Failed or "
        "Cancelled. Derived from the conditions; wait on those.",
    )
    reason: Text = Field("", max_length=128, description="Why it is in this state, as one word.")
    message: Text = Field("", max_length=4096, description="Why, in a sentence, and what to do next.")
    ready: Text = Field("", max_length=16, description="Stages ready or complete, of all: 3/5.")
    restarts: Int = Field(0, ge=0, description="Pods of all stages that were started anew.")
    conditions: tuple[Condition, ...] = Field(
        (),
        max_length=16,
        description="What is said of the task, by type.",
        json_schema_extra=keyed_by("type"),
    )
    queue: Queue | None = Field(None, description="Where it waits; absent when it does not.")
    progress: Progress | None = Field(None, description="How far it is; absent before the first frame.")
    stages: tuple[StageStatus, ...] = Field(
        (),
        max_length=32,
        description="The stages of the current attempt.",
        json_schema_extra=keyed_by("name"),
    )
    models: tuple[ModelStatus, ...] = Field(
        (), max_length=32, description="Models, pinned at admission.", json_schema_extra=keyed_by("stage")
    )
    result: Result | None = Field(None, description="What is left, once it is published.")
    stream_url: Text = Field(
        "",
        alias="streamURL",
        max_length=2048,
        description="Where to watch the annotated video while it runs.",
    )

    attempt: Int = Field(0, ge=0, description="Number of the current attempt; 0 before the first admission.")
    retries: Int = Field(0, ge=0, description="Attempts that failed and were followed by another.")
    ready_timeouts: Int = Field(
        0, ge=0, description="Attempts that gave their GPUs back before all was ready."
    )
    requeue_time: Instant | None = Field(None, description="Not admitted again before.")
    active_seconds: Int = Field(
        0, ge=0, description="Time that earlier attempts ran; counts towards the deadline."
    )
    queued_time: Instant | None = Field(None, description="When it began to wait.")
    admitted_time: Instant | None = Field(None, description="When the current attempt was admitted.")
    start_time: Instant | None = Field(None, description="When all stages were ready for the first time.")
    completion_time: Instant | None = Field(None, description="When it ended, well or not; written once.")
    topics_deleted_time: Instant | None = Field(None, description="When its topics were confirmed gone.")
    cleaned_up_time: Instant | None = Field(None, description="When nothing was left but result and status.")

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of a type, None where nothing was said yet."""
        return next((c for c in self.conditions if c.type == kind), None)

    @property
    def terminal(self) -> Condition | None:
        """``Succeeded`` once it is True or False: the task ended, and never runs again."""
        found = self.condition(ConditionType.SUCCEEDED)
        return found if found is not None and found.status != "Unknown" else None
