"""Floor 1: the models: what is known of them, where they are, and running them.

The light half (catalogue, store) is importable from here; the detector and the estimator
bring ONNX Runtime and OpenCV and are imported from :mod:`posetask.models.yolox` and
:mod:`posetask.models.rtmpose`.
"""

from posetask.models.catalogue import Accuracy, Catalogue, DetectorSpec, ModelSpec, PoseSpec
from posetask.models.store import Pulled, ResolvedModel, Store, Verified, resolve_detector, resolve_pose

__all__ = [
    "Accuracy",
    "Catalogue",
    "DetectorSpec",
    "ModelSpec",
    "PoseSpec",
    "Pulled",
    "ResolvedModel",
    "Store",
    "Verified",
    "resolve_detector",
    "resolve_pose",
]
