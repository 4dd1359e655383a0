"""Names and places: what the topics and groups of a run are called, and which partition a frame goes to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from posetask.errors import InvalidParameters

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")  # Kafka's own rule
_RUN = re.compile(r"[a-z0-9]([a-z0-9-]{0,60})")


def run_id(task: str, uid: str) -> str:
    """Id of a run: no two tasks ever share one, even of the same name.

    Args:
        task: Name of the PoseTask.
        uid: Its Kubernetes uid.

    >>> run_id("lobby.camera-3", "1f2e3d4c-9a7b-4c5d-8e6f-001122334455")
    'lobby-camera-3-1f2e3d4c'
    """
    return f"{task[:40].replace('.', '-')}-{uid[:8]}"


def topic_name(topic: str, run: str) -> str:
    """Kafka's name of a stage's topic.

    Raises:
        InvalidParameters: Kafka would refuse the name.

    >>> topic_name("raw_frames", "demo-1f2e3d4c")
    'raw_frames_demo-1f2e3d4c'
    """
    name = f"{topic}_{run}"
    if not _RUN.fullmatch(run) or not _LEGAL.fullmatch(name):
        raise InvalidParameters(
            f"no topic can be called {name[:80]!r}",
            hint="a run's id is lower-case letters, digits and dashes",
        )
    return name


def group_name(stage: str, run: str) -> str:
    """Consumer group of a stage: its place in its inputs.

    >>> group_name("yolox", "demo-1f2e3d4c")
    'yolox_demo-1f2e3d4c'
    """
    return topic_name(stage, run)


def partition_of(index: int, partitions: int) -> int:
    """Partition of a frame: explicit, so that every client of any language agrees.

    >>> [partition_of(i, 3) for i in range(5)]
    [0, 1, 2, 0, 1]
    """
    return index % partitions


def first_index(partition: int, partitions: int, least: int = 0) -> int:
    """The first frame index of a partition that is not below ``least``.

    >>> first_index(2, 3), first_index(1, 3, 5), first_index(1, 3, 7)
    (2, 7, 7)
    """
    return least + (partition - least) % partitions


@dataclass(frozen=True, slots=True)
class Replica:
    """One of ``of`` processes of a stage; its partitions are those p with p mod of = number."""

    number: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise InvalidParameters(
                f"there is no replica {self.number} of {self.of}", hint="they count from 0"
            )

    def partitions(self, total: int) -> tuple[int, ...]:
        """The partitions of this replica.

        Raises:
            InvalidParameters: There are fewer partitions than replicas.

        >>> Replica(1, 2).partitions(3)
        (1,)
        """
        if self.of > total:
            raise InvalidParameters(
                f"{self.of} replicas share {total} partitions", hint="a topic needs a partition a replica"
            )
        return tuple(p for p in range(total) if p % self.of == self.number)
