"""``spec`` of a PoseTask: what a person asks for."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from posetask.spec.base import AS_SET, MUTABLE, ONE_WAY, Bool, Int, Part, Text, keyed_by, says
from posetask.spec.stage import StageSpec, effective_stages

_SOURCE = r"^(synth:|(s3|gs|az|https?|rtsps?)://)[^\x00-\x20\x7f]+$"
_OUTPUT = r"^(s3|gs|az)://[^\x00-\x20\x7f]+$"
_LIVE = re.compile("rtsps?://")
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_YEAR = 365 * 86400

Format = Literal["mp4", "parquet", "coco", "mot", "jsonl"]


class Sampling(Part):
    """Which frames are analysed; the result has all of them."""

    every_n: Int = Field(
        1, ge=1, le=1000, description="Analyse every Nth frame; people are interpolated in those between."
    )


class Source(Part):
    """The video."""

    uri: Text = Field(
        min_length=1,
        max_length=2048,
        pattern=_SOURCE,
        description="Where the video is: s3://, gs://, az://, http(s):// or rtsp(s):// within what the "
        "administrator grants to the namespace, or synth:people=3,frames=150 for rendered people.",
        json_schema_extra=says(
            "begins with none of s3://, gs://, az://, https://, rtsp:// or synth:; a file on your disk is "
            "uploaded first, or worked on with: posetask run FILE"
        ),
    )
    live: Bool | None = Field(
        None,
        description="Whether the source cannot be read a second time: frames that come too fast are dropped "
        "and counted. Unset, true for rtsp:// and rtsps:// only.",
    )
    sampling: Sampling = Field(default_factory=Sampling, description="Which frames are analysed.")
    start_seconds: Int = Field(0, ge=0, le=_YEAR, description="Skip so many seconds of the source.")
    duration_seconds: Int | None = Field(
        None, ge=1, le=_YEAR, description="End after so many seconds of the source. Unset, at its end."
    )
    max_frames: Int | None = Field(
        None, ge=1, le=2**31 - 1, description="End after so many frames. Unset, at the end of the source."
    )

    @property
    def is_live(self) -> bool:
        """What ``live`` says, or the address does."""
        return bool(_LIVE.match(self.uri)) if self.live is None else self.live


class Output(Part):
    """What is left, and where."""

    uri: Text | None = Field(
        None,
        max_length=1024,
        pattern=_OUTPUT,
        description="Folder of the result, within what the administrator grants to the namespace. "
        "Unset, a folder of the run's own below the administrator's root.",
        json_schema_extra=says("begins with none of s3://, gs:// or az://"),
    )
    formats: tuple[Format, ...] = Field(
        ("mp4", "parquet"),
        min_length=1,
        max_length=5,
        description="Files to write: mp4 is the annotated video; parquet, coco, mot and jsonl are the poses "
        "as data.",
        json_schema_extra=AS_SET,
    )
    stream: Literal["None", "HLS"] = Field(
        "HLS", description="Whether the annotated video can be watched while the task runs."
    )


class Execution(Part):
    """How the stages run."""

    mode: Literal["Distributed", "Fused"] = Field(
        "Distributed",
        description="Distributed: a Job for each stage, joined by Kafka. Fused: all stages in one pod on one "
        "GPU, without topics; cheaper for short videos.",
    )


class Scheduling(Part):
    """When and where the task runs."""

    priority: Int = Field(
        0,
        ge=-1000,
        le=1000,
        description="Tasks with a higher one are admitted first; running tasks are not stopped for it. "
        "May be changed while the task waits.",
        json_schema_extra=MUTABLE,
    )
    ready_timeout_seconds: Int = Field(
        600,
        ge=10,
        le=86400,
        description="Once admitted, all stages must be ready within this time; otherwise the task gives its "
        "GPUs back and waits again.",
    )
    profile: Text | None = Field(
        None,
        max_length=63,
        pattern=_NAME,
        description="Name of the administrator's profile (nodes, GPUs, tolerations). Unset, the default one.",
        json_schema_extra=says("is no name of a profile: lower-case letters, digits and dashes"),
    )


class Deadlines(Part):
    """When a task is given up."""

    active_seconds: Int = Field(
        86400,
        ge=1,
        le=30 * 86400,
        description="The task fails when it ran longer; time in the queue does not count.",
    )
    no_frames_seconds: Int = Field(
        300,
        ge=1,
        le=86400,
        description="The task fails when all stages are ready and no frame went through for so long.",
    )


class Cleanup(Part):
    """What is taken away after the end, and when. May be changed at any time."""

    topics_after_seconds: Int = Field(
        60,
        ge=0,
        le=86400,
        description="Kafka topics and groups are deleted so long after the end.",
        json_schema_extra=MUTABLE,
    )
    ttl_seconds_after_success: Int = Field(
        3600,
        ge=0,
        le=_YEAR,
        description="Jobs and pods of a task that succeeded are deleted after this time.",
        json_schema_extra=MUTABLE,
    )
    ttl_seconds_after_failure: Int = Field(
        86400,
        ge=0,
        le=_YEAR,
        description="Jobs and pods of a task that failed or was cancelled are deleted after this time; until "
        "then their logs can be read.",
        json_schema_extra=MUTABLE,
    )
    source_after_seconds: Int | None = Field(
        None,
        ge=0,
        le=10 * _YEAR,
        description="An uploaded source is deleted so long after the end. Unset, never.",
        json_schema_extra=MUTABLE,
    )
    result_after_seconds: Int | None = Field(
        None,
        ge=0,
        le=10 * _YEAR,
        description="The result is deleted so long after the end. Unset, never.",
        json_schema_extra=MUTABLE,
    )
    delete_self: Bool = Field(
        False,
        description="Whether the PoseTask itself goes with its Jobs. The result stays.",
        json_schema_extra=MUTABLE,
    )


class PoseTaskSpec(Part):
    """What a person asks for. Only suspend, cancel, cleanup and scheduling.priority may be changed later."""

    source: Source = Field(description="The video.")
    output: Output = Field(default_factory=Output, description="What is left, and where.")
    stages: tuple[StageSpec, ...] = Field(
        (),
        max_length=16,
        description="Changes to the built-in stages, by name, and stages of one's own. Empty, the five "
        "built-in ones as they are: producer, yolox, rtmpose, bytetrack, annotator.",
        json_schema_extra=keyed_by("name"),
    )
    execution: Execution = Field(default_factory=Execution, description="How the stages run.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="When and where the task runs.")
    deadlines: Deadlines = Field(default_factory=Deadlines, description="When the task is given up.")
    retries: Int = Field(
        2, ge=0, le=10, description="Further attempts after a failure that another attempt can mend."
    )
    cleanup: Cleanup = Field(
        default_factory=Cleanup, description="What is taken away after the end, and when."
    )
    suspend: Bool = Field(
        False,
        description="true stops the task and frees its GPUs; false lets it wait for admission again and go "
        "on where it was.",
        json_schema_extra=MUTABLE,
    )
    cancel: Bool = Field(
        False,
        description="true ends the task for good; it cannot be taken back.",
        json_schema_extra=ONE_WAY,
    )

    @property
    def effective_stages(self) -> tuple[StageSpec, ...]:
        """All stages of the task, the built-in ones first."""
        return effective_stages(self.stages)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        from posetask.spec.rules import broken

        for rule in broken(self):
            raise ValueError(rule.message)
        return self


SpecField = Annotated[PoseTaskSpec, Field(description=PoseTaskSpec.__doc__)]
