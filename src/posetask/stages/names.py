"""The five stages by name, their topics, and where the stream lies: for those who need no stage itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

RAW_FRAMES, YOLOX, RTMPOSE, BYTETRACK = TOPICS = ("raw_frames", "yolox", "rtmpose", "bytetrack")
"""Topics, in the order of the pipeline."""

PRODUCER, ANNOTATOR = "producer", "annotator"
MODULES: Mapping[str, str] = MappingProxyType(
    {name: f"posetask.stages.{name}" for name in (PRODUCER, YOLOX, RTMPOSE, BYTETRACK, ANNOTATOR)}
)
"""Where each of the five stages is declared, in the order of the pipeline."""


def stream_folder(output: Path) -> Path:
    """Where the HLS stream of ``output`` lies.

    >>> str(stream_folder(Path("clips/out.mp4")))
    'clips/out.hls'
    """
    return output.with_suffix(".hls")
