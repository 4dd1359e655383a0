"""The pose stage: keypoints of every detected person, by RTMPose (Jiang et al. 2023, arXiv 2303.07399)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from posetask.messages import Detections, Frame, Poses
from posetask.models.catalogue import PoseSpec
from posetask.models.rtmpose import RtmposeEstimator
from posetask.models.store import ResolvedModel, resolve_pose
from posetask.stages.base import Batching, Stage, StageContext, StageParameters
from posetask.stages.names import RAW_FRAMES, RTMPOSE, YOLOX
from posetask.stages.yolox import batching_for, model_facts


class RtmposeParameters(StageParameters):
    """Parameters of the pose estimator."""

    model: str | None = Field(
        None, description="catalogue name, path of an .onnx file, or 'demo'; None = the best pulled"
    )
    box_threshold: float = Field(
        0.3,
        ge=0.0,
        le=1.0,
        description="people with a lower detection score keep their box and get no keypoints",
    )


class RtmposeStage(Stage[RtmposeParameters]):
    """Poses, on ``rtmpose``: the detections' rows, with keypoints where the score allows.

    Args:
        parameters: Of the estimator.
        context: The run.
        resolved: The model that ``parameters.model`` names, where the caller found it already.
    """

    name = "rtmpose"
    description = "estimates keypoints with RTMPose"
    port = 8103
    inputs = (RAW_FRAMES, YOLOX)
    output = RTMPOSE
    Parameters: ClassVar[type[StageParameters]] = RtmposeParameters
    concurrent = True

    estimator: RtmposeEstimator

    def __init__(
        self,
        parameters: RtmposeParameters,
        context: StageContext,
        resolved: ResolvedModel[PoseSpec] | None = None,
    ) -> None:
        super().__init__(parameters, context)
        self._resolved = resolved

    def open(self) -> None:
        """Load the model."""
        self.estimator = RtmposeEstimator(
            self._resolved or resolve_pose(self.parameters.model),
            device=self.context.device,
            sessions=self.context.cores,
            timings=self.context.timings,
        )

    @property
    def batching(self) -> Batching:
        """As the detector's."""
        return batching_for(self.estimator.on_gpu, self.context.cores)

    def process(self, batch: Sequence[tuple[Frame, Detections]]) -> list[Poses]:
        """Estimate all people of all frames of the batch at once."""
        chosen = [np.flatnonzero(found.scores >= self.parameters.box_threshold) for _, found in batch]
        busy = [i for i, rows in enumerate(chosen) if len(rows)]
        estimated = (
            self.estimator.estimate(
                [batch[i][0].image for i in busy], [batch[i][1].xyxy[chosen[i]] for i in busy]
            )
            if busy
            else []
        )
        out = [Poses.without_keypoints(found, self.estimator.keypoints) for _, found in batch]
        for i, (keypoints, scores) in zip(busy, estimated, strict=True):
            out[i].keypoints[chosen[i]] = keypoints
            out[i].keypoint_scores[chosen[i]] = scores
        return out

    def empty(self, inputs: tuple[Frame, Detections]) -> Poses:
        """People keep their boxes in a frame that the estimator cannot survive."""
        return Poses.without_keypoints(inputs[1], self.estimator.keypoints)

    def facts(self) -> dict[str, Any]:
        """The model."""
        return {"model": model_facts(self.estimator.info)} if hasattr(self, "estimator") else {}

    def close(self) -> None:
        """Free the sessions."""
        if hasattr(self, "estimator"):
            self.estimator.close()
