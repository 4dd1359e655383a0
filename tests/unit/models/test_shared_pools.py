"""One pool for all users of a model in a process: loaded once, freed with the last."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posetask.errors import ModelCorrupt, UnknownModel
from posetask.models.shared import PoolLease, keep_unused, loaded
from posetask.models.store import resolve_detector
from posetask.models.yolox import YoloxDetector
from posetask.telemetry import Timings


@pytest.fixture(autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    gc.collect()
    assert loaded() == 0
    yield
    assert loaded() == 0


def lease(path: Path, timings: Timings | None = None, *, sessions: int = 2) -> PoolLease:
    return PoolLease(
        path, device="cpu", sessions=sessions, sha256=None, timings=timings or Timings(), step="infer"
    )


def test_users_of_one_file_share_its_weights_and_book_their_own_time(tiny_models: tuple[Path, Path]) -> None:
    mine, theirs = Timings(), Timings()
    a, b = lease(tiny_models[0], mine), lease(tiny_models[0], theirs)
    assert loaded() == 1
    assert a._pool is b._pool
    picture = np.zeros((1, 3, 128, 128), np.float32)
    b.run(picture)
    assert mine.seconds() == {}
    assert theirs.seconds()["infer"] > 0
    a.close()
    a.close()  # a second time changes nothing
    assert len(b.run(picture)) == 1
    with pytest.raises(RuntimeError, match="closed"):
        a.run(picture)
    b.close()


@pytest.mark.parametrize("other", ["another file", "another number of sessions", "a file that was replaced"])
def test_what_is_not_the_same_is_not_shared(
    other: str, tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    shutil.copy(tiny_models[0], path)
    a = lease(path)
    if other == "another file":
        b = lease(tiny_models[1])
    elif other == "another number of sessions":
        b = lease(path, sessions=1)
    else:
        path.unlink()
        shutil.copy(tiny_models[1], path)
        b = lease(path)
    assert loaded() == 2
    a.close()
    b.close()


def test_a_file_that_does_not_load_leaves_nothing_and_may_be_tried_again(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(UnknownModel):
        lease(path)
    path.write_bytes(b"no model")
    with pytest.raises(ModelCorrupt):
        lease(path)
    assert loaded() == 0
    shutil.copy(tiny_models[0], path)
    lease(path).close()


def test_many_at_once_load_it_once(tiny_models: tuple[Path, Path]) -> None:
    found: list[PoolLease] = []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        found.append(lease(tiny_models[0]))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one._pool) for one in found}) == 1
    for one in found:
        one.close()


def test_detectors_share_too(tiny_models: tuple[Path, Path]) -> None:
    resolved = resolve_detector(str(tiny_models[0]))
    a, b = (YoloxDetector(resolved, device="cpu", sessions=1) for _ in range(2))
    assert loaded() == 1
    assert a.info == b.info
    a.close()
    b.close()


def test_who_forgets_to_close_keeps_nothing_loaded(tiny_models: tuple[Path, Path]) -> None:
    forgotten = lease(tiny_models[0])
    assert forgotten.sha256
    del forgotten
    gc.collect()
    assert loaded() == 0


def test_a_service_keeps_those_used_last_beyond_their_users(tiny_models: tuple[Path, Path]) -> None:
    keep_unused(1)
    try:
        first = lease(tiny_models[0])
        pool = first._pool
        first.close()
        again = lease(tiny_models[0])
        assert again._pool is pool, "it was still loaded"
        again.close()
        lease(tiny_models[1]).close()
        assert loaded() == 1, "the longest unused one went"
        fresh = lease(tiny_models[0])
        assert fresh._pool is not pool
        fresh.close()
        assert loaded() == 1
    finally:
        keep_unused(0)
