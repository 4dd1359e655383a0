"""Floor 1: the results as data. Parquet is canonical; COCO, MOT and JSON Lines for other tools."""

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
