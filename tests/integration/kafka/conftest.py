"""Tests over a real broker: the fixtures ``broker`` and ``make_broker`` stand one folder above."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

MISSING = find_spec("confluent_kafka") is None
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(
            "NOT RUN: tests/integration/kafka (confluent-kafka is not installed)", red=True
        )


_count = itertools.count()


@pytest.fixture
def run() -> str:
    """A run's id that nobody had before."""
    return f"test{next(_count)}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 frames of 320x180: the red square goes round and round."""
    path = tmp_path_factory.mktemp("clips") / "round.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv444p"
        for i in range(600):
            image = np.full((180, 320, 3), 90, np.uint8)
            x = round(130 + 120 * np.sin(i / 20))
            image[60:108, x : x + 48] = (0, 0, 255)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(video.encode(None))
    return path


@pytest.fixture(scope="session")
def same_people() -> Callable[[Path, Path], None]:
    """Compares two Parquet files: order and ids equal, boxes and keypoints within 1e-3 px, scores 1e-5."""
    return _same_people


def _same_people(ours: Path, theirs: Path) -> None:
    a, b = pq.read_table(ours), pq.read_table(theirs)
    assert a.num_rows == b.num_rows > 0
    assert a.schema.names == b.schema.names
    for name in a.schema.names:
        x, y = a[name].combine_chunks(), b[name].combine_chunks()
        while hasattr(x, "flatten") and str(x.type).startswith(("list", "fixed_size_list")):
            assert x.value_lengths().equals(y.value_lengths()), name
            x, y = x.flatten(), y.flatten()
        if str(x.type) in {"float", "double", "halffloat"}:
            within = 1e-5 if "score" in name else 1e-3
            one, other = x.to_numpy(zero_copy_only=False), y.to_numpy(zero_copy_only=False)
            np.testing.assert_allclose(one, other, rtol=0, atol=within, err_msg=name)
        else:
            assert x.equals(y), name
