"""What PoseTask knows of each model: where it is, how to feed it, how to read its answer.

The facts are data (``catalogue.yaml``), because every model differs in one of them and a wrong one
costs accuracy without an error: colour order, normalisation, padding, whether NMS is inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from posetask.errors import UnknownModel
from posetask.messages import COCO_17, Skeleton

Triple = tuple[float, float, float]

SKELETONS = {"coco17": COCO_17}
"""The keypoint sets that an entry can name."""


class Accuracy(BaseModel):
    """A published figure, with its source; never one of ours.

    Attributes:
        metric: For example ``AP``.
        dataset: What it was measured on, and how.
        value: In the source's unit.
        source: Where it stands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    dataset: str
    value: float
    source: str


class ModelSpec(BaseModel):
    """What detectors and pose estimators have in common.

    Attributes:
        name: In the catalogue.
        family: Which code reads it.
        version: Of the published file.
        urls: Where the file is; further ones are mirrors, allowed only with a digest.
        member: Base name of the .onnx inside the archive, where the URL is a zip.
        sha256: Of the .onnx; None where no digest is known (then the first pull pins what it saw).
        sha256_source: How the digest is known.
        size: Bytes of the .onnx, None if unknown.
        licence: SPDX expression of the published files.
        licence_note: What a careful user should read before selling the result.
        source: Home page.
        rank: "Best installed" is the highest.
        recommended: Pulled when no names are given.
        width: Input pixels.
        height: Input pixels.
        colour: Channel order of the input.
        mean: Subtracted per channel, in ``colour`` order, on the scale 0..255; None: nothing is.
        std: Divided by, likewise.
        batch: ``fixed`` (the graph takes one size) or ``dynamic``.
        accuracy: Published figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    family: str
    version: str = ""
    urls: tuple[str, ...] = ()
    member: str | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    sha256_source: str = ""
    size: int | None = Field(None, gt=0)
    licence: str = "unknown"
    licence_note: str = ""
    source: str = ""
    rank: int = 0
    recommended: bool = False
    width: int = Field(gt=0, le=4096)
    height: int = Field(gt=0, le=4096)
    colour: Literal["BGR", "RGB"]
    mean: Triple | None = None
    std: Triple | None = None
    batch: Literal["fixed", "dynamic"]
    accuracy: tuple[Accuracy, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std stand together or not at all")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be positive")
        if len(self.urls) > 1 and self.sha256 is None:
            raise ValueError("a mirror needs a sha256")
        return self


class DetectorSpec(ModelSpec):
    """A person detector.

    Attributes:
        padding: Where the picture lies in the input: ``top-left`` or ``centre``.
        pad_value: Grey of the rest, 0..255.
        rounding: How the size of the resized picture is rounded: ``floor`` as YOLOX does, ``nearest``
            as MMDetection does.
        output: ``raw`` = ``[N, anchors, 5 + classes]``, boxes not decoded, scores already sigmoids;
            ``nms`` = ``[N, people, 5]`` xyxy in input pixels and score, decoding and NMS in the graph.
        strides: Of the raw output's levels, in order.
        score_rule: ``objectness*class``, or ``direct`` where the graph says the score.
        nms_threshold: IoU above which the weaker box goes; None where the graph has done it.
        classes: How many the graph knows.
        person_class: Which of them is a person.
    """

    kind: Literal["detector"] = "detector"
    family: Literal["yolox"] = "yolox"
    padding: Literal["top-left", "centre"] = "top-left"
    pad_value: int = Field(114, ge=0, le=255)
    rounding: Literal["floor", "nearest"] = "floor"
    output: Literal["raw", "nms"] = "raw"
    strides: tuple[int, ...] = (8, 16, 32)
    score_rule: Literal["objectness*class", "direct"] = "objectness*class"
    nms_threshold: float | None = Field(0.45, gt=0, le=1)
    classes: int = Field(80, ge=1)
    person_class: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _readable(self) -> DetectorSpec:
        if self.person_class >= self.classes:
            raise ValueError(f"person_class {self.person_class} of {self.classes} classes")
        if (self.output == "raw") != (self.score_rule == "objectness*class"):
            raise ValueError("a raw output scores objectness*class, one with NMS inside says it directly")
        if self.output == "raw" and self.nms_threshold is None:
            raise ValueError("a raw output needs an nms_threshold")
        if self.output == "raw" and any(self.width % s or self.height % s for s in self.strides):
            raise ValueError(f"input {self.width}x{self.height} is no multiple of the strides {self.strides}")
        return self

    @property
    def anchors(self) -> int:
        """Rows of a raw output.

        >>> Catalogue.load().detector("yolox-nano").anchors
        3549
        """
        return sum((self.width // s) * (self.height // s) for s in self.strides)


class PoseSpec(ModelSpec):
    """A top-down pose estimator with SimCC outputs (Li et al. 2022, arXiv 2107.03332).

    Attributes:
        keypoints: How many.
        skeleton: Name of their order; None if unknown.
        split_ratio: Bins per input pixel of ``simcc_x`` and ``simcc_y``.
        expansion: The box grows by this factor before it is widened to the input's aspect.
        score_rule: Keypoint score of the two maxima: ``min`` as MMPose does; ``mean`` as rtmlib does.
    """

    kind: Literal["pose"] = "pose"
    family: Literal["rtmpose"] = "rtmpose"
    keypoints: int = Field(17, ge=1, le=1000)
    skeleton: str | None = "coco17"
    split_ratio: float = Field(2.0, gt=0)
    expansion: float = Field(1.25, gt=0)
    score_rule: Literal["min", "mean"] = "min"

    @model_validator(mode="after")
    def _known_skeleton(self) -> PoseSpec:
        if self.skeleton is not None and len(self.bones) != self.keypoints:
            raise ValueError(f"{self.keypoints} keypoints are not the skeleton {self.skeleton}")
        return self

    @property
    def bones(self) -> Skeleton:
        """The skeleton itself.

        Raises:
            ValueError: It is not a known one.
        """
        if self.skeleton not in SKELETONS:
            raise ValueError(f"unknown skeleton {self.skeleton!r}; known: {', '.join(SKELETONS)}")
        return SKELETONS[self.skeleton]


class Catalogue:
    """All known models, by name.

    >>> Catalogue.load().pose("rtmpose-m").width
    192
    """

    def __init__(self, specs: tuple[DetectorSpec | PoseSpec, ...]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        if len(self._specs) != len(specs):
            raise ValueError("two models of the catalogue have one name")

    @classmethod
    @cache
    def load(cls) -> Catalogue:
        """Read the catalogue that ships in the package."""
        text = resources.files("posetask.models").joinpath("catalogue.yaml").read_text("utf-8")
        return cls.parse(yaml.safe_load(text))

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Catalogue:
        """From the YAML's content: ``templates`` of shared fields, and ``models`` that are ``like`` one."""
        templates: Mapping[str, Mapping[str, Any]] = document.get("templates", {})
        specs = []
        for row in document["models"]:
            fields = {**templates.get(row.get("like", ""), {}), **row}
            fields.pop("like", None)
            specs.append(parse_spec(fields))
        return cls(tuple(specs))

    def __iter__(self) -> Iterator[DetectorSpec | PoseSpec]:
        return iter(self._specs.values())

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def get(self, name: str) -> DetectorSpec | PoseSpec:
        """Find a model of either kind.

        Raises:
            UnknownModel: No such name.
        """
        if name not in self._specs:
            raise UnknownModel(
                f"there is no model {name!r} in the catalogue", hint="posetask models list shows all"
            )
        return self._specs[name]

    def detector(self, name: str) -> DetectorSpec:
        """Find a person detector.

        Raises:
            UnknownModel: No such name, or it is a pose estimator.
        """
        spec = self.get(name)
        if not isinstance(spec, DetectorSpec):
            raise UnknownModel(f"{name} is no detector, it estimates poses", hint=self._names(DetectorSpec))
        return spec

    def pose(self, name: str) -> PoseSpec:
        """Find a pose estimator.

        Raises:
            UnknownModel: No such name, or it is a detector.
        """
        spec = self.get(name)
        if not isinstance(spec, PoseSpec):
            raise UnknownModel(f"{name} estimates no poses, it is a detector", hint=self._names(PoseSpec))
        return spec

    def _names(self, kind: type[ModelSpec]) -> str:
        return "choose one of " + ", ".join(s.name for s in self._specs.values() if isinstance(s, kind))


def parse_spec(fields: Mapping[str, Any]) -> DetectorSpec | PoseSpec:
    """One model from its fields; ``kind`` says which.

    Raises:
        pydantic.ValidationError: A field is wrong, unknown, or missing.
    """
    return (PoseSpec if fields.get("kind") == "pose" else DetectorSpec).model_validate(fields)
