"""The detector stage: people in every analysed frame, by YOLOX (Ge et al. 2021, arXiv 2107.08430)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from posetask.messages import Detections, Frame
from posetask.models.catalogue import DetectorSpec
from posetask.models.session import LoadedModel
from posetask.models.store import ResolvedModel, resolve_detector
from posetask.models.yolox import YoloxDetector
from posetask.stages.base import Batching, Stage, StageContext, StageParameters
from posetask.stages.names import RAW_FRAMES, YOLOX


class YoloxParameters(StageParameters):
    """Parameters of the detector."""

    model: str | None = Field(
        None, description="catalogue name, path of an .onnx file, or 'demo'; None = the best pulled"
    )
    score_threshold: float = Field(
        0.1, ge=0.001, le=0.99, description="boxes below are dropped; ByteTrack wants them down to 0.1"
    )
    nms_threshold: float | None = Field(None, ge=0.05, le=1.0, description="IoU; None = the model's own")
    max_people: int = Field(300, ge=1, le=2000, description="at most so many boxes a frame, best first")


class YoloxStage(Stage[YoloxParameters]):
    """Boxes of people, on ``yolox``; frames that are not analysed get an empty list.

    Args:
        parameters: Of the detector.
        context: The run.
        resolved: The model that ``parameters.model`` names, where the caller found it already.
    """

    name = "yolox"
    description = "detects people with YOLOX"
    port = 8102
    inputs = (RAW_FRAMES,)
    output = YOLOX
    Parameters: ClassVar[type[StageParameters]] = YoloxParameters
    concurrent = True

    detector: YoloxDetector

    def __init__(
        self,
        parameters: YoloxParameters,
        context: StageContext,
        resolved: ResolvedModel[DetectorSpec] | None = None,
    ) -> None:
        super().__init__(parameters, context)
        self._resolved = resolved

    def open(self) -> None:
        """Load the model."""
        p = self.parameters
        self.detector = YoloxDetector(
            self._resolved or resolve_detector(p.model),
            device=self.context.device,
            sessions=self.context.cores,
            score_threshold=p.score_threshold,
            nms_threshold=p.nms_threshold,
            max_people=p.max_people,
            timings=self.context.timings,
        )

    @property
    def batching(self) -> Batching:
        """Frame by frame on every core of a CPU; buckets of frames on a GPU."""
        return batching_for(self.detector.on_gpu, self.context.cores)

    def process(self, batch: Sequence[tuple[Frame]]) -> list[Detections]:
        """Detect in all analysed frames of the batch at once."""
        frames = [frame for (frame,) in batch]
        analysed = [frame for frame in frames if frame.header.analysed]
        found = iter(self.detector.detect([frame.image for frame in analysed]) if analysed else ())
        return [
            Detections(frame.header, *next(found))
            if frame.header.analysed
            else Detections.empty(frame.header)
            for frame in frames
        ]

    def empty(self, inputs: tuple[Frame]) -> Detections:
        """Nobody is found in a frame that the detector cannot survive."""
        return Detections.empty(inputs[0].header)

    def facts(self) -> dict[str, Any]:
        """The model."""
        return {"model": model_facts(self.detector.info)} if hasattr(self, "detector") else {}

    def close(self) -> None:
        """Free the sessions."""
        if hasattr(self, "detector"):
            self.detector.close()


def model_facts(model: LoadedModel) -> dict[str, Any]:
    """A model as :meth:`posetask.stages.base.Stage.facts` gives it."""
    return {"name": model.name, "sha256": model.sha256, "provider": model.provider}


def batching_for(on_gpu: bool, cores: int) -> Batching:
    """How a model's stage is fed.

    On a CPU every core works a frame of its own on a single-thread session: measured faster than one
    session with threads, and the answer for a frame cannot depend on its neighbours. On a GPU frames
    are batched, and two batches are under way so that the host prepares one while the device works.
    """
    return Batching(size=8, wait_seconds=0.01, workers=2) if on_gpu else Batching(workers=cores)
