from __future__ import annotations

import itertools

import lap
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.tracking import matching
from posetask.tracking.matching import assign, associate


def sparse(cost: np.ndarray, below: float = np.inf) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(cost < below)
    return rows, columns, cost[rows, columns]


def by_lapjv(cost: np.ndarray, limit: float) -> list[tuple[int, int]]:
    _, of_row, _ = lap.lapjv(cost, extend_cost=True, cost_limit=limit)
    return [(i, int(j)) for i, j in enumerate(of_row) if j >= 0]


def by_hand(cost: np.ndarray, limit: float) -> float:
    """Largest gain of any matching, by trying them all."""
    n, m = cost.shape
    best = 0.0
    for k in range(1, min(n, m) + 1):
        for rows in itertools.combinations(range(n), k):
            for columns in itertools.permutations(range(m), k):
                best = max(best, sum(limit - cost[i, j] for i, j in zip(rows, columns, strict=True)))
    return best


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 25),
    m=st.integers(1, 25),
    density=st.floats(0.02, 1.0),
    limit=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]),
)
def test_the_matching_is_that_of_lapjv_over_the_whole_matrix(
    seed: int, n: int, m: int, density: float, limit: float
) -> None:
    rng = np.random.default_rng(seed)
    cost = np.where(rng.random((n, m)) < density, rng.random((n, m)), 1.0 + 1e-6)
    rows, columns = assign(*sparse(cost, below=1.0), limit)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == by_lapjv(cost, limit)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 4), m=st.integers(1, 4), steps=st.integers(2, 6))
def test_with_ties_the_total_is_still_the_best_of_all(seed: int, n: int, m: int, steps: int) -> None:
    cost = np.random.default_rng(seed).integers(0, steps + 1, (n, m)) / steps
    rows, columns = assign(*sparse(cost), 0.75)
    assert len(set(rows.tolist())) == len(rows)
    assert len(set(columns.tolist())) == len(columns)
    assert (cost[rows, columns] <= 0.75).all()
    assert (0.75 - cost[rows, columns]).sum() == pytest.approx(by_hand(cost, 0.75))


def test_a_pair_above_the_limit_is_not_matched_and_one_at_it_is_as_lapjv_does() -> None:
    for cost in (0.5, np.nextafter(0.5, 1)):
        rows, _ = assign(*sparse(np.array([[cost]])), 0.5)
        assert len(rows) == len(by_lapjv(np.array([[cost]]), 0.5)) == (cost == 0.5)


def test_the_limit_is_part_of_the_problem_not_a_filter_afterwards() -> None:
    # the cheapest full assignment is (0,1), (1,0): 0.6 + 0.55; but one pair at 0 and two left alone gain more
    cost = np.array([[0.0, 0.6], [0.55, 2.0]])
    rows, columns = assign(*sparse(cost), 0.7)
    assert (rows.tolist(), columns.tolist()) == ([0], [0])


def test_clear_problems_never_reach_lapjv(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    solve = matching._solve
    monkeypatch.setattr(matching, "_solve", lambda *args: calls.append(args) or solve(*args))
    clear = np.full((3, 3), 0.85) - np.diag(np.full(3, 0.8))
    assert assign(*sparse(clear), 0.9)[0].tolist() == [0, 1, 2]
    assert not calls
    assign(*sparse(np.full((2, 2), 0.5)), 0.9)
    assert len(calls) == 1


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_match_is_no_match(n: int, m: int) -> None:
    rows, columns = associate(np.zeros((4, n)), np.zeros((4, m)), 0.9, np.ones(m))
    assert len(rows) == len(columns) == 0


def test_scores_weigh_the_overlap() -> None:
    box = np.array([[0.0, 0.0, 99.0, 99.0]]).T
    assert len(associate(box, box, 0.5, np.array([0.6]))[0]) == 1
    assert len(associate(box, box, 0.5, np.array([0.4]))[0]) == 0
    assert len(associate(box, box, 0.5)[0]) == 1
