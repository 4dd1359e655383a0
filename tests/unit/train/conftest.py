"""The trainer is no part of the installed package, so its tests bring its folder along."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "train"
if str(FOLDER) not in sys.path:
    sys.path.append(str(FOLDER))
