"""Rules between fields: each once, as CEL for the API server and as Python for everyone else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posetask.spec.stage import BUILT_IN, PARALLEL

if TYPE_CHECKING:
    from posetask.spec.spec import PoseTaskSpec


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ``spec``.

    Attributes:
        field: Where it is broken, a path below ``spec``.
        message: What is wrong, and what to write.
        cel: True where it holds; ``self`` is ``spec``, with its defaults filled in.
        holds: The same in Python.
    """

    field: str
    message: str
    cel: str
    holds: Callable[[PoseTaskSpec], bool]


def _list(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


_SINGLE = tuple(name for name in BUILT_IN if name not in PARALLEL)

RULES: tuple[Rule, ...] = (
    Rule(
        ".stages",
        f"{', '.join(_SINGLE)} run in one replica: only yolox, rtmpose and stages of your own take more",
        f"self.stages.all(s, s.replicas == 1 || !(s.name in {_list(_SINGLE)}))",
        lambda spec: all(s.replicas == 1 or s.name not in _SINGLE for s in spec.stages),
    ),
    Rule(
        ".stages",
        "the built-in stages are always required: only stages of your own take required: false",
        f"self.stages.all(s, s.required || !(s.name in {_list(BUILT_IN)}))",
        lambda spec: all(s.required or s.name not in BUILT_IN for s in spec.stages),
    ),
    Rule(
        ".execution.mode",
        "Fused runs every stage once, in one pod: take Distributed, or leave replicas at 1",
        "self.execution.mode != 'Fused' || self.stages.all(s, s.replicas == 1)",
        lambda spec: spec.execution.mode != "Fused" or all(s.replicas == 1 for s in spec.stages),
    ),
    Rule(
        ".source.live",
        "a synth: source is rendered anew as often as needed: leave live out",
        "!self.source.uri.startsWith('synth:') || !has(self.source.live) || !self.source.live",
        lambda spec: not (spec.source.uri.startswith("synth:") and spec.source.live is True),
    ),
)


def broken(spec: PoseTaskSpec) -> tuple[Rule, ...]:
    """The rules that a specification breaks."""
    return tuple(rule for rule in RULES if not rule.holds(spec))
