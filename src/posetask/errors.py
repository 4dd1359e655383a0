"""Every error that PoseTask raises on purpose, in one tree.

Each class says four things once, and every shell (CLI, Job, REST, operator) reads them from here:
whether a retry can mend it, the exit code of a process that ends on it, the HTTP status, and the
reason that stands in a condition. ``hint`` says what to do next; it is part of the message.

::

    PoseTaskError                   retry?  exit  http
    ├── InputError                   no      20    422   the user's media or arguments
    │   ├── NotAVideo
    │   ├── FormatNotAllowed
    │   ├── UnsupportedCodec
    │   ├── NoVideoStream
    │   ├── Truncated                                    nothing can be decoded
    │   ├── DamagedInput                                 only with --strict
    │   ├── TooManyPixels
    │   ├── TooLong
    │   ├── TooManyStreams
    │   ├── InvalidParameters
    │   ├── SourceNotFound                         404
    │   ├── UnknownTask                            404
    │   ├── TaskConflict                           409   another task has the id, or it cannot do that now
    │   ├── AccessDenied                           401   the token of a service
    │   └── NoFrames                                     the source, or a stage before, stands still
    ├── ModelError                   no      21    422
    │   ├── UnknownModel                           404
    │   ├── ModelNotInstalled                            posetask models pull
    │   ├── ModelCorrupt                                 checksum or graph is wrong
    │   └── ModelContract                                the graph is not what the catalogue says
    ├── OutputError                  no      22    409
    │   ├── OutputExists                                 --force
    │   └── StorageFull              yes     32    507
    ├── FramesExpired                no      23    410
    ├── StageFailed                  no      24    500   a stage broke its contract
    ├── NotAvailable                 no      25    501   the machine lacks a part (posetask doctor)
    ├── TransportError               no      26    502   the broker, or what lies on it, is not as it must be
    │   ├── MalformedRecord                              bytes that are no record of ours
    │   ├── RecordTooLarge
    │   ├── StreamBroken                                 a gap, or counts that disagree
    │   ├── TopicLost                                    deleted, or made anew, under a run
    │   ├── KafkaAccessDenied                            credentials or ACLs
    │   └── KafkaRefused                                 a setting, a policy or the partition budget
    └── Unavailable                  yes     30    503   a dependency is away for now
        ├── DownloadFailed
        └── KafkaUnavailable                             no broker answers, or too few replicas
"""

from __future__ import annotations

from typing import ClassVar


class PoseTaskError(Exception):
    """Root of the tree.

    Args:
        message: What happened, in one sentence, with the values that matter.
        hint: What the user can do next, as a command where there is one.

    >>> print(SourceNotFound("in.mp4 does not exist", hint="check the path"))
    in.mp4 does not exist; check the path
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.__doc__:
            raise TypeError(f"{cls.__name__} needs a docstring")

    @property
    def reason(self) -> str:
        """CamelCase reason, as it stands in a Kubernetes condition."""
        return type(self).__name__

    @property
    def code(self) -> str:
        """The same in UPPER_SNAKE, as it stands in a REST problem document.

        >>> NotAVideo("x").code
        'NOT_A_VIDEO'
        """
        name, out = self.reason, ""
        for i, c in enumerate(name):
            after_lower = i > 0 and not name[i - 1].isupper()
            before_lower = 0 < i < len(name) - 1 and not name[i + 1].isupper()
            out += "_" + c if c.isupper() and (after_lower or before_lower) and i else c
        return out.upper()


class InputError(PoseTaskError):
    """The media or the arguments that the user gave cannot be worked on."""

    exit_code = 20
    http_status = 422


class NotAVideo(InputError):
    """The bytes are no video or image that we know."""


class FormatNotAllowed(InputError):
    """A container that can name other files or hosts (playlists, SDP), or one that is not read here."""


class UnsupportedCodec(InputError):
    """The container is fine, but there is no decoder for its video."""


class NoVideoStream(InputError):
    """A media file without pictures in it."""


class Truncated(InputError):
    """The file is cut short in a way that leaves nothing to decode."""


class DamagedInput(InputError):
    """Some frames are lost, and ``--strict`` was asked for."""


class TooManyPixels(InputError):
    """A frame is larger than the limit."""


class TooLong(InputError):
    """The declared or decoded duration is over the limit."""


class TooManyStreams(InputError):
    """More streams than any honest video has."""


class InvalidParameters(InputError):
    """A parameter is out of bounds, or two of them contradict each other."""


class SourceNotFound(InputError):
    """There is nothing at the given path or URI."""

    http_status = 404


class UnknownTask(InputError):
    """Nobody here has heard of a task of this id."""

    http_status = 404


class TaskConflict(InputError):
    """The id belongs to another task, or the task is not where it could do what was asked."""

    http_status = 409


class AccessDenied(InputError):
    """The token is missing or wrong."""

    http_status = 401


class NoFrames(InputError):
    """No frame went through for as long as the task allows."""


class ModelError(PoseTaskError):
    """A model cannot be used."""

    exit_code = 21
    http_status = 422


class UnknownModel(ModelError):
    """The catalogue has no model of this name, and there is no such file."""

    http_status = 404


class ModelNotInstalled(ModelError):
    """The catalogue knows the model, but its file is not on this machine."""


class ModelCorrupt(ModelError):
    """The file's checksum differs from the catalogue's, or it does not load."""


class ModelContract(ModelError):
    """The graph's inputs or outputs are not those of the declared family."""


class OutputError(PoseTaskError):
    """The result cannot be written."""

    exit_code = 22
    http_status = 409


class OutputExists(OutputError):
    """The output is already there, and ``--force`` was not given."""


class StorageFull(OutputError):
    """No space left where the result goes."""

    retryable = True
    exit_code = 32
    http_status = 507


class FramesExpired(PoseTaskError):
    """Frames of a live source left the broker before they were read."""

    exit_code = 23
    http_status = 410


class StageFailed(PoseTaskError):
    """A stage raised, or broke its contract (one record for every frame, in order)."""

    exit_code = 24


class NotAvailable(PoseTaskError):
    """This machine lacks a part that was asked for (a GPU provider, a codec)."""

    exit_code = 25
    http_status = 501


class Unavailable(PoseTaskError):
    """A dependency does not answer now; trying again later can succeed."""

    retryable = True
    exit_code = 30
    http_status = 503


class DownloadFailed(Unavailable):
    """A model could not be fetched."""


class TransportError(PoseTaskError):
    """The broker, or what lies on it, is not as it must be, and trying again changes nothing."""

    exit_code = 26
    http_status = 502


class MalformedRecord(TransportError):
    """A record on a topic cannot be read: damaged, foreign, or of a newer schema."""


class RecordTooLarge(TransportError):
    """A record is larger than the broker takes, and cannot be made smaller."""


class StreamBroken(TransportError):
    """A topic skips a frame, or its partitions disagree about the end."""


class TopicLost(TransportError):
    """A topic of the run is not there: never made, deleted under it, or made anew by a stranger."""


class KafkaAccessDenied(TransportError):
    """The broker refuses our credentials, or an ACL is missing."""


class KafkaRefused(TransportError):
    """The broker refuses what was asked for: a setting, a policy, or too many partitions."""


class KafkaUnavailable(Unavailable):
    """No broker answers, or too few replicas are in sync to write safely."""
