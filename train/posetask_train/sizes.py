"""The tensor contracts of the two networks, as numbers; needs no PyTorch."""

STRIDES = (8, 16, 32)
DETECTOR_SIZE = (192, 320)
"""Height, width."""
POSE_SIZE = (128, 96)
"""Height, width."""
SPLIT = 2.0
"""SimCC bins per pixel."""
KEYPOINTS = 17
MAP_STRIDE = 4
"""Pixels of the input per cell of a keypoint's map."""
