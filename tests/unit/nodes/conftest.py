from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
if str(ROOT / "scripts") not in sys.path:
    sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture
def installer() -> Path:
    """The program that puts packages in place inside an image's build."""
    return ROOT / "images" / "install.py"
