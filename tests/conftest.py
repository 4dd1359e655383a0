"""Fixtures and rules for every suite."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

SHARED_DATA = Path(os.environ.get("POSETASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real weights, clips and reference vectors; it stands beside the checkout, never in it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found: {SHARED_DATA} is missing (set POSETASK_TEST_DATA to its folder)")
    return SHARED_DATA


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: what was not run was not seen.

    ``POSETASK_CI_WITHOUT`` names markers whose parts this CI is known to lack, e.g. ``real_data``.
    """
    report = yield
    lacking = set(os.environ.get("POSETASK_CI_WITHOUT", "").split(","))
    if (
        os.environ.get("CI")
        and report.skipped
        and not hasattr(report, "wasxfail")
        and not any(mark.name in lacking for mark in item.iter_markers())
    ):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI a skip is a failure: {reason}"
    return report
