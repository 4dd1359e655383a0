"""What a stage is: a short declaration, and ``process``.

Declaring the class registers it; topics, batching, threads, order, errors, progress and the CLI follow
from the declaration. A whole stage::

    class BrightnessParameters(StageParameters):
        gain_percent: int = Field(100, ge=1, le=1000, description="multiplies the mean, in percent")

    class BrightnessStage(Stage[BrightnessParameters]):
        name = "brightness"
        description = "mean brightness of every frame"
        port = 8110
        inputs = ("raw_frames",)
        output = "brightness"
        Parameters = BrightnessParameters

        def process(self, batch):
            return [Brightness(frame.header, float(frame.image.mean())) for (frame,) in batch]

Packages of anyone's offer stages through the entry-point group ``posetask.stages``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from posetask.errors import InvalidParameters
from posetask.messages import DecodeReport, EndOfStream, Message, SourceInfo
from posetask.telemetry import Timings, available_cores

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TOPIC = re.compile(r"[a-z][a-z0-9_]{0,60}")


class StageParameters(BaseModel):
    """Base of every stage's parameters: unknown names are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


P = TypeVar("P", bound=StageParameters)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is told about the run it serves.

    Attributes:
        run: Id of the run; the ``_<run>`` of topic names.
        device: ``auto``, ``cpu`` or ``cuda``.
        cores: Cores to size pools by.
        timings: Where to book the time of inner steps.
        source: What probing said of the source, where it is known.
    """

    run: str = "local"
    device: str = "auto"
    cores: int = field(default_factory=available_cores)
    timings: Timings = field(default_factory=Timings)
    source: SourceInfo | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """How the runner feeds ``process``.

    Attributes:
        size: At most so many frames a call.
        wait_seconds: A batch that has its first frame waits no longer than this for more.
        workers: Calls at once; above 1 only for a stage that is ``concurrent``.
    """

    size: int = 1
    wait_seconds: float = 0.0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.workers < 1 or self.wait_seconds < 0:
            raise ValueError(f"batching needs positive sizes: {self}")


class Stage(ABC, Generic[P]):
    """One step of the pipeline, for one run.

    The runner guarantees: ``open`` before, ``close`` after; batches in frame order; every input frame
    once. The stage owes: one message for every frame, in order. A stage that is ``concurrent`` answers
    each call with exactly its batch's frames; another may hold frames back and hand the rest out in
    ``finish``.

    Over Kafka a process may die at any moment and another goes on in its place. For a stage without
    state nothing needs to be said: it begins at the first frame that its output topic lacks. A stage
    with state says in ``replays`` which inputs it must see from frame 0 again. Where these are all its
    inputs, it works everything anew, and what was emitted before is not emitted twice; where they are
    some, ``recall`` is called for the frames before its place.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    port: ClassVar[int]
    """Port of the resident service (``posetask service NAME``)."""
    inputs: ClassVar[tuple[str, ...]]
    """Topics read, joined by frame index; the run's id is appended to the name."""
    output: ClassVar[str | None]
    """Topic written; None for a stage at the end."""
    Parameters: ClassVar[type[StageParameters]]
    concurrent: ClassVar[bool] = False
    """True where ``process`` is thread-safe and no call depends on another."""
    replays: ClassVar[tuple[str, ...]] = ()
    """Inputs that a process which takes over reads from frame 0 again."""

    def __init__(self, parameters: P, context: StageContext) -> None:
        self.parameters = parameters
        self.context = context

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            _register(cls)

    def open(self) -> None:
        """Load models, open files. Called once, on the thread that runs the stage."""
        return

    @property
    def batching(self) -> Batching:
        """How to be fed; asked once, after ``open``."""
        return Batching()

    @abstractmethod
    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        """Work on a batch: per frame a tuple with one message for each of ``inputs``."""

    def finish(self, end: EndOfStream) -> Sequence[Message]:
        """What was held back, after the last batch."""
        return ()

    def recall(self, inputs: tuple[Any, ...]) -> None:
        """A frame that an earlier process finished: one message for each input of ``replays``."""
        return

    def empty(self, inputs: tuple[Any, ...]) -> Message | None:
        """What to say of a frame at which processes died again and again; None where nothing can be said."""
        return None

    @property
    def kept_index(self) -> int | None:
        """For a stage that stores its own results: the first frame that is not safely stored yet.

        Inputs are committed up to there, and a process that takes over goes on there. None: a frame is
        done with when it was processed and its output, where there is one, is acknowledged.
        """
        return None

    def facts(self) -> dict[str, Any]:
        """What the stage says of the run so far, for status and progress; values that JSON knows.

        ``model`` is understood everywhere: a mapping with ``name``, ``sha256`` and ``provider``.
        """
        return {}

    def close(self) -> None:
        """Free everything; called on success and on failure alike."""
        return


class Source(Stage[P]):
    """A stage without inputs: it makes the frames."""

    inputs: ClassVar[tuple[str, ...]] = ()

    begin: int = 0
    """Number of the first frame; above 0 where a live source goes on after another process."""

    @abstractmethod
    def produce(self) -> Iterator[Message]:
        """Make the frames, numbered from ``begin`` on without gaps."""

    @property
    @abstractmethod
    def report(self) -> DecodeReport:
        """Final once ``produce`` is exhausted."""

    def stop(self) -> None:
        """End the stream after the current frame, from any thread; nothing to do where it ends by itself."""
        return

    def process(self, batch: Sequence[tuple[Any, ...]]) -> Sequence[Message]:
        """Sources are driven by ``produce``."""
        raise TypeError(f"{self.name} is a source: it has no inputs to process")


_registry: dict[str, type[Stage[Any]]] = {}


def _register(cls: type[Stage[Any]]) -> None:
    for attribute in ("description", "port", "inputs", "output", "Parameters"):
        if not hasattr(cls, attribute):
            raise TypeError(f"stage {cls.__name__} does not declare {attribute!r}")
    if not _NAME.fullmatch(cls.name):
        raise TypeError(f"stage name {cls.name!r} must match {_NAME.pattern}")
    for topic in (*cls.inputs, *([cls.output] if cls.output else [])):
        if not _TOPIC.fullmatch(topic):
            raise TypeError(f"topic {topic!r} of stage {cls.name!r} must match {_TOPIC.pattern}")
    known = _registry.get(cls.name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(f"stage {cls.name!r} is declared by {known.__module__} already")
    _registry[cls.name] = cls


def registered() -> Mapping[str, type[Stage[Any]]]:
    """Stages declared so far, by name; :func:`posetask.stages.catalogue` also loads entry points."""
    return dict(_registry)


def parse_parameters(stage: type[Stage[P]], values: Mapping[str, object]) -> P:
    """Check ``values`` against the stage's parameters.

    Raises:
        InvalidParameters: Names each bad value, and the names that would be good.
    """
    try:
        return stage.Parameters.model_validate(values)  # type: ignore[return-value]
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or stage.name}: {e['msg']}" for e in error.errors()
        )
        names = ", ".join(stage.Parameters.model_fields)
        raise InvalidParameters(
            f"stage {stage.name}: {problems}", hint=f"its parameters are: {names or 'none'}"
        ) from None
