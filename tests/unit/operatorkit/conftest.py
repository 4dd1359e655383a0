"""The kit lies beside the suites, not in a package."""

from __future__ import annotations

import sys
from pathlib import Path

for _folder in (Path(__file__).parents[2] / "support", Path(__file__).parents[3] / "scripts"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
