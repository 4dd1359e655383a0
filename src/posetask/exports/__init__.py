"""Floor 1: the results as data. Parquet is canonical; COCO, MOT and JSON Lines for other tools."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posetask.exports.metadata import RunMetadata
    from posetask.exports.multi import FORMATS, MultiWriter, check_targets, open_writers
    from posetask.exports.parquet_reader import PoseCursor, PoseTable, read_poses
    from posetask.exports.writer import ResultWriter

__all__ = [
    "FORMATS",
    "MultiWriter",
    "PoseCursor",
    "PoseTable",
    "ResultWriter",
    "RunMetadata",
    "check_targets",
    "open_writers",
    "read_poses",
]

_HOMES = {
    "RunMetadata": "metadata",
    "FORMATS": "multi",
    "MultiWriter": "multi",
    "check_targets": "multi",
    "open_writers": "multi",
    "PoseCursor": "parquet_reader",
    "PoseTable": "parquet_reader",
    "read_poses": "parquet_reader",
    "ResultWriter": "writer",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: of five processes one writes Parquet, and all say what a run is.
    if name not in _HOMES:
        raise AttributeError(f"module 'posetask.exports' has no attribute {name!r}")
    return getattr(import_module(f"posetask.exports.{_HOMES[name]}"), name)
