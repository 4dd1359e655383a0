"""Every reason that stands in a condition; what each means, and what to do, stands in ``reasons.yaml``."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from posetask.spec.conditions import ConditionType


class Words(BaseModel):
    """What is said of a reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conditions: tuple[ConditionType, ...] = Field(min_length=1, description="where it stands")
    meaning: str = Field(min_length=1, description="what happened; the values are in the message")
    resolution: str = Field("", max_length=2048, description="what to do next; empty: nothing")


class Reason(StrEnum):
    """A reason, as one word.

    >>> Reason.WAITING_FOR_GPUS.meaning
    'the profile has fewer free GPUs than the task needs at once'
    """

    # The way of every task
    ADMITTED = "Admitted"
    NOT_ADMITTED = "NotAdmitted"
    CREATING_TOPICS = "CreatingTopics"
    TOPICS_READY = "TopicsReady"
    NO_TOPICS_NEEDED = "NoTopicsNeeded"
    TOPICS_DELETED = "TopicsDeleted"
    CREATING_JOBS = "CreatingJobs"
    JOBS_CREATED = "JobsCreated"
    JOBS_DELETED = "JobsDeleted"
    STARTING_PODS = "StartingPods"
    ALL_READY = "AllReady"
    ENDED = "Ended"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    INTACT = "Intact"
    NOT_SUSPENDED = "NotSuspended"

    # What a task waits for
    WAITING_FOR_GPUS = "WaitingForGPUs"
    WAITING_FOR_TURN = "WaitingForTurn"
    WAITING_FOR_PODS = "WaitingForPods"
    WAITING_FOR_PARTITIONS = "WaitingForPartitions"
    BACKING_OFF = "BackingOff"
    SUSPENDED = "Suspended"
    SUSPENDING = "Suspending"

    # What must be mended before a task can be admitted
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_STAGE = "UnknownStage"
    UNKNOWN_INPUT = "UnknownInput"
    UNKNOWN_PROFILE = "UnknownProfile"
    UNKNOWN_MODEL = "UnknownModel"
    INVALID_PARAMETERS = "InvalidParameters"
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    OUTPUT_NOT_ALLOWED = "OutputNotAllowed"
    DOES_NOT_FIT = "DoesNotFit"
    NAMESPACE_NOT_ENABLED = "NamespaceNotEnabled"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, no secret

    # Kafka
    KAFKA_UNAVAILABLE = "KafkaUnavailable"
    KAFKA_ACCESS_DENIED = "KafkaAccessDenied"
    KAFKA_REFUSED = "KafkaRefused"
    TOPIC_LOST = "TopicLost"
    MALFORMED_RECORD = "MalformedRecord"
    RECORD_TOO_LARGE = "RecordTooLarge"
    STREAM_BROKEN = "StreamBroken"
    TRANSPORT_ERROR = "TransportError"
    UNAVAILABLE = "Unavailable"

    # Jobs, pods and nodes
    JOBS_REFUSED = "JobsRefused"
    NAME_TAKEN = "NameTaken"
    UNSCHEDULABLE = "Unschedulable"
    READY_TIMEOUT = "ReadyTimeout"
    IMAGE_MISSING = "ImageMissing"
    CONTAINER_REFUSED = "ContainerRefused"
    OUT_OF_MEMORY = "OutOfMemory"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    STAGE_DIED = "StageDied"
    JOB_DELETED = "JobDeleted"

    # How a task ends without a result
    CANCELLED = "Cancelled"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NO_FRAMES = "NoFrames"
    FRAMES_EXPIRED = "FramesExpired"
    RETRIES_EXHAUSTED = "RetriesExhausted"

    # What the stages say of source, model and output
    INPUT_ERROR = "InputError"
    NOT_A_VIDEO = "NotAVideo"
    FORMAT_NOT_ALLOWED = "FormatNotAllowed"
    UNSUPPORTED_CODEC = "UnsupportedCodec"
    NO_VIDEO_STREAM = "NoVideoStream"
    TRUNCATED = "Truncated"
    DAMAGED_INPUT = "DamagedInput"
    TOO_MANY_PIXELS = "TooManyPixels"
    TOO_LONG = "TooLong"
    TOO_MANY_STREAMS = "TooManyStreams"
    SOURCE_NOT_FOUND = "SourceNotFound"
    MODEL_ERROR = "ModelError"
    MODEL_NOT_INSTALLED = "ModelNotInstalled"
    MODEL_CORRUPT = "ModelCorrupt"
    MODEL_CONTRACT = "ModelContract"
    OUTPUT_ERROR = "OutputError"
    OUTPUT_EXISTS = "OutputExists"
    STORAGE_FULL = "StorageFull"
    STAGE_FAILED = "StageFailed"
    NOT_AVAILABLE = "NotAvailable"
    DOWNLOAD_FAILED = "DownloadFailed"

    # Losses that do not end a task
    FRAMES_DROPPED = "FramesDropped"
    FRAMES_QUARANTINED = "FramesQuarantined"

    # Clean-up
    TTL_NOT_OVER = "TTLNotOver"
    DELETING = "Deleting"
    CLEANED_UP = "CleanedUp"
    TOPICS_ABANDONED = "TopicsAbandoned"
    NAMESPACE_TERMINATING = "NamespaceTerminating"

    @property
    def words(self) -> Words:
        """All that is said of it."""
        return catalogue()[self]

    @property
    def meaning(self) -> str:
        """What happened."""
        return self.words.meaning

    @property
    def resolution(self) -> str:
        """What to do next; empty where there is nothing to do."""
        return self.words.resolution


@cache
def catalogue() -> dict[Reason, Words]:
    """What is said of every reason, in the order of the enumeration."""
    text = resources.files("posetask.spec").joinpath("reasons.yaml").read_text(encoding="utf-8")
    found = TypeAdapter(dict[Reason, Words]).validate_python(yaml.safe_load(text))
    return {reason: found[reason] for reason in Reason}
