"""The helpers' doctests find the helpers, and the scripts' libraries that they stand on."""

from __future__ import annotations

import sys
from pathlib import Path

for _folder in (Path(__file__).parent, Path(__file__).parents[2] / "scripts"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
