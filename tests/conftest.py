"""Fixtures for every suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(os.environ.get("POSETASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real weights, clips and reference vectors; it stands beside the checkout, never in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found: {SHARED_DATA} is missing (set POSETASK_TEST_DATA to its folder)")
    return SHARED_DATA
