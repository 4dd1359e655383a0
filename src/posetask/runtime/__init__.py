"""Floor 3: drives stages: joins, batches, orders, and runs a whole pipeline in one process."""

from posetask.runtime.join import JoinedReader
from posetask.runtime.runner import StageProgress, StageRunner, collect

__all__ = ["JoinedReader", "StageProgress", "StageRunner", "collect"]
