"""PoseTask: videos in, tracked human poses out.

``for frame in posetask.run("in.mp4"): …`` runs the five stages in this process; see :func:`posetask.run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from posetask.api import Person, PoseFrame, Run, run
    from posetask.runtime.options import RunOptions
    from posetask.runtime.summary import Summary

__all__ = ["Person", "PoseFrame", "Run", "RunOptions", "Summary", "__version__", "run"]

_HOMES = {
    "Person": "posetask.api",
    "PoseFrame": "posetask.api",
    "Run": "posetask.api",
    "run": "posetask.api",
    "RunOptions": "posetask.runtime.options",
    "Summary": "posetask.runtime.summary",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `posetask --help` and the operator need no OpenCV or ONNX Runtime.
    if name not in _HOMES:
        raise AttributeError(f"module 'posetask' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
