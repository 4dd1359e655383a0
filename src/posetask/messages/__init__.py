"""Floor 1: the messages that travel between stages, as typed Python."""

from posetask.messages.frame import Frame, FrameHeader, Image
from posetask.messages.records import EndOfStream, Message
from posetask.messages.reports import DecodeReport, SourceInfo
from posetask.messages.results import KEYPOINTS, Detections, Floats, Ints, Poses, Tracks
from posetask.messages.skeleton import COCO_17, Skeleton

__all__ = [
    "COCO_17",
    "KEYPOINTS",
    "DecodeReport",
    "Detections",
    "EndOfStream",
    "Floats",
    "Frame",
    "FrameHeader",
    "Image",
    "Ints",
    "Message",
    "Poses",
    "Skeleton",
    "SourceInfo",
    "Tracks",
]
