"""The whole object, as the API server gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError

from posetask.errors import InvalidParameters
from posetask.spec.base import API_VERSION, Instant, Part
from posetask.spec.spec import PoseTaskSpec
from posetask.spec.status import PoseTaskStatus


class ObjectMeta(Part):
    """What we read of ``metadata``; the API server keeps the rest."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(description="Of the task.")
    namespace: str = Field("default", description="The task's tenant.")
    uid: str = Field("", description="Never used twice.")
    generation: int = Field(0, description="Grows with every change of the specification.")
    resource_version: str = Field("", description="Grows with every change.")
    creation_timestamp: Instant | None = Field(None, description="When it was made.")
    deletion_timestamp: Instant | None = Field(None, description="When it was asked to go.")
    finalizers: tuple[str, ...] = Field((), description="Who has work to do before it goes.")
    labels: dict[str, str] = Field(default_factory=dict, description="Words to select it by.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Words that others keep with it.")


class PoseTask(Part):
    """A video to be turned into tracked poses."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["posetask.io/v1alpha1"] = Field(
        "posetask.io/v1alpha1", description="Group and version."
    )
    kind: Literal["PoseTask"] = Field("PoseTask", description="Kind.")
    metadata: ObjectMeta = Field(description="Name, namespace and the like.")
    spec: PoseTaskSpec = Field(description="What you ask for.")
    status: PoseTaskStatus = Field(default_factory=PoseTaskStatus, description="What the operator says.")

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """From the object of the API server, or of a file.

        Raises:
            InvalidParameters: It is no PoseTask that this version understands; says where.

        >>> PoseTask.read({"apiVersion": "posetask.io/v1alpha1", "kind": "PoseTask",
        ...     "metadata": {"name": "demo"}, "spec": {"source": {"uri": "synth:frames=9"}}}).spec.retries
        2
        """
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise InvalidParameters(
                f"not a PoseTask of {API_VERSION}: {said}",
                hint="see: kubectl explain posetask.spec --recursive",
            ) from None
