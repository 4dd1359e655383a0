"""``spec.stages[]``: what a task says of its stages, and which stages it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field, Strict, WithJsonSchema

from posetask.spec.base import AS_SET, Bool, Int, Part, Text, says

BUILT_IN: Final = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
"""The stages of every task, in the order of the pipeline."""

PARALLEL: Final = ("yolox", "rtmpose")
"""Those of them that may have several replicas; their largest number is the topics' partitions."""

_NAME = r"^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$"
_TOPIC = r"^[a-z][a-z0-9_]{0,60}$"
_TYPE = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
_MODEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_RESOURCE = r"^[a-z0-9]([a-z0-9.-]{0,187}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_QUANTITY = r"^[0-9]{1,12}(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
PARAMETER_NAME: Final = r"^[a-z][a-z0-9_]{0,63}$"

IntOrText = Annotated[int, Strict()] | Annotated[str, Strict()]
_INT_OR_TEXT: dict[str, Any] = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}

Quantity = Annotated[
    Annotated[int, Strict(), Field(ge=0, le=10**12)]
    | Annotated[str, Strict(), Field(max_length=20, pattern=_QUANTITY)],
    WithJsonSchema(
        _INT_OR_TEXT
        | {"maxLength": 20, "minimum": 0, "maximum": 10**12, "pattern": _QUANTITY}
        | says("is no quantity: write for example 2, 500m or 4Gi")
    ),
]
"""An amount in Kubernetes' notation."""

ParameterValue = Annotated[
    Annotated[int, Strict(), Field(ge=-(2**31), le=2**31 - 1)]
    | Annotated[str, Strict(), Field(max_length=256)],
    WithJsonSchema(_INT_OR_TEXT | {"maxLength": 256, "minimum": -(2**31), "maximum": 2**31 - 1}),
]
"""An integer or a text; the text "0.3" where a parameter takes fractions, "true" where it is a switch."""


class Resources(Part):
    """What each pod of a stage asks of its node. The catalogue's values hold for what is not said."""

    cpu: Quantity | None = Field(None, description='Cores that are reserved, for example 2 or "500m".')
    memory: Quantity | None = Field(
        None, description='Memory that is reserved and the most that may be used, for example "4Gi".'
    )
    ephemeral_storage: Quantity | None = Field(
        None,
        description='Disk of the node that is reserved and the most that may be used, for example "10Gi".',
    )


class Accelerator(Part):
    """Devices of each pod of a stage."""

    type: Text = Field(
        "nvidia.com/gpu",
        max_length=253,
        pattern=_RESOURCE,
        description="Name of the extended resource, as the nodes offer it.",
        json_schema_extra=says("is no name of an extended resource: write for example nvidia.com/gpu"),
    )
    count: Int = Field(1, ge=0, le=8, description="Devices for each pod; 0 runs the stage on the CPU.")


class StageSpec(Part):
    """One stage: an entry with the name of a built-in one changes it, any other adds one."""

    name: Text = Field(
        max_length=24,
        pattern=_NAME,
        description="Name of the stage. producer, yolox, rtmpose, bytetrack and annotator are always there; "
        "an entry with one of these names changes that stage.",
        json_schema_extra=says(
            "is no name of a stage: at most 24 lower-case letters, digits and dashes, with a letter first"
        ),
    )
    type: Text | None = Field(
        None,
        max_length=63,
        pattern=_TYPE,
        description="What the administrator's stage catalogue calls it; it names the image. "
        "Unset, the name of the stage.",
        json_schema_extra=says("is no type of a stage: lower-case letters, digits, dashes and dots"),
    )
    inputs: (
        tuple[
            Annotated[
                Text, Field(max_length=61, pattern=_TOPIC, json_schema_extra=says("is no name of a topic"))
            ],
            ...,
        ]
        | None
    ) = Field(
        None,
        min_length=1,
        max_length=8,
        description="Topics that it reads, without the run: raw_frames, or the output of another stage. "
        "Unset, those that the stage declares.",
        json_schema_extra=AS_SET,
    )
    model: Text | None = Field(
        None,
        max_length=128,
        pattern=_MODEL,
        description="Name in the model catalogue (posetask models list). Unset, the catalogue's default.",
        json_schema_extra=says("is no name in the model catalogue; paths and addresses are not taken"),
    )
    required: Bool = Field(
        True,
        description="Whether the result needs it. One that is not required holds up neither frames nor "
        "result, and its failure does not fail the task.",
    )
    replicas: Int = Field(
        1,
        ge=1,
        le=32,
        description="Pods that share the frames. Of the built-in stages only yolox and rtmpose "
        "take more than 1.",
    )
    resources: Resources | None = Field(
        None, description="What each pod asks of its node. Unset, what the catalogue says."
    )
    accelerator: Accelerator | None = Field(
        None, description="Devices of each pod. Unset, what the catalogue and the profile say."
    )
    parameters: dict[Annotated[Text, Field(max_length=64, pattern=PARAMETER_NAME)], ParameterValue] = Field(
        default_factory=dict,
        max_length=32,
        description='Parameters of the stage, by name: integers or strings ("0.3", "true"). Each is checked '
        "against what the stage declares; docs/posetask.md lists those of the built-in stages.",
    )

    @property
    def kind(self) -> str:
        """The type, the stage's own name where none is given."""
        return self.type or self.name


def effective_stages(stages: Sequence[StageSpec]) -> tuple[StageSpec, ...]:
    """The stages that a task comes to: the built-in ones, changed where it says so, then its own.

    >>> [s.name for s in effective_stages([StageSpec(name="faces"), StageSpec(name="yolox", replicas=2)])]
    ['producer', 'yolox', 'rtmpose', 'bytetrack', 'annotator', 'faces']
    """
    given = {stage.name: stage for stage in stages}
    built_in = tuple(given.get(name) or StageSpec(name=name) for name in BUILT_IN)
    return built_in + tuple(stage for stage in stages if stage.name not in BUILT_IN)


def partitions(stages: Sequence[StageSpec]) -> int:
    """Partitions of the task's topics: the most replicas of a stage that may have several.

    >>> partitions([StageSpec(name="yolox", replicas=3)])
    3
    """
    return max((s.replicas for s in stages if s.name not in BUILT_IN or s.name in PARALLEL), default=1)
