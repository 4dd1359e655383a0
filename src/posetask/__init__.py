"""PoseTask: videos in, tracked human poses out."""

__version__ = "0.1.0"
