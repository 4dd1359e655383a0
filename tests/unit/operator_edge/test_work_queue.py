"""The work queue and its workers: once at a time, once more after, later after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.errors import Unavailable
from posetask_operator.edge.faults import LeaseLost
from posetask_operator.edge.workers import Workers
from posetask_operator.edge.workqueue import BackOff, WorkQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(BackOff(first=1.0, most=8.0, jitter=0.0), clock=clock)


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 20))  # type: ignore[arg-type]


def test_a_key_waits_once_however_often_it_is_added() -> None:
    async def main() -> None:
        q = queue(Clock())
        for _ in range(3):
            q.add("a")
        assert (len(q), q.adds) == (1, 3)
        assert await q.get(0) == "a"
        assert await q.get(0) is None

    run(main)


def test_a_key_that_is_added_while_it_is_worked_on_comes_once_more_after() -> None:
    async def main() -> None:
        q = queue(Clock())
        q.add("a")
        assert await q.get(0) == "a"
        q.add("a")
        q.add("a")
        assert await q.get(0) is None, "one works on it"
        q.done("a")
        assert await q.get(0) == "a"
        q.done("a")
        assert await q.get(0) is None

    run(main)


def test_the_sooner_of_two_delays_counts() -> None:
    async def main() -> None:
        clock = Clock()
        q = queue(clock)
        q.add_after("a", 10)
        q.add_after("a", 3)
        q.add_after("a", 7)
        assert q.delayed == 1
        clock.now = 2.9
        assert await q.get(0) is None
        clock.now = 3.0
        assert await q.get(0) == "a"
        q.done("a")
        clock.now = 20.0
        assert await q.get(0) is None, "the later ones were one with it"

    run(main)


def test_a_key_that_is_due_while_it_is_worked_on_is_not_worked_on_twice_at_once() -> None:
    async def main() -> None:
        clock = Clock()
        q = queue(clock)
        q.add("a")
        assert await q.get(0) == "a"
        q.add_after("a", 1)
        clock.now = 2.0
        assert await q.get(0) is None
        q.done("a")
        assert await q.get(0) == "a"

    run(main)


def test_failures_come_back_ever_later_until_one_look_goes_well() -> None:
    async def main() -> None:
        q = queue(Clock())
        assert [q.failed("a") for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
        q.forget("a")
        assert q.failed("a") == 1.0
        assert q.retries == 6

    run(main)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "after", "get", "done", "tick"]))))
def test_no_key_is_ever_lost_or_worked_on_twice_at_once(steps: list[tuple[str, str]]) -> None:
    async def main() -> None:
        clock = Clock()
        q = queue(clock)
        working: set[str] = set()
        owed: set[str] = set()
        for key, step in steps:
            if step == "add":
                q.add(key)
                owed.add(key)
            elif step == "after":
                q.add_after(key, 5)
                owed.add(key)
            elif step == "tick":
                clock.now += 3
            elif step == "get":
                found = await q.get(0)
                if found is not None:
                    assert found not in working
                    working.add(found)
                    owed.discard(found)
            elif key in working:
                working.discard(key)
                q.done(key)
        clock.now += 100
        for key in working:
            q.done(key)
        seen = set()
        while (found := await q.get(0)) is not None:
            seen.add(found)
            q.done(found)
        assert owed <= seen

    run(main)


def test_a_worker_outlives_failures_and_defects_and_asks_again() -> None:
    async def main() -> None:
        q: WorkQueue[str] = WorkQueue(BackOff(first=0.01, most=0.01))
        looks: list[str] = []
        results: list[str] = []

        async def look(key: str) -> float | None:
            looks.append(key)
            if looks.count(key) == 1:
                raise Unavailable("away")
            if looks.count(key) == 2:
                raise ZeroDivisionError
            return 0.01 if looks.count(key) == 3 else None

        workers = Workers(q, look, count=2, on_done=lambda result, _: results.append(result))
        working = asyncio.create_task(workers.run())
        q.add("a")
        while len(results) < 4:
            await asyncio.sleep(0.01)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert results == ["error", "error", "requeue_after", "success"]

    run(main)


def test_a_lost_lease_ends_all_workers() -> None:
    async def main() -> None:
        q: WorkQueue[str] = WorkQueue()

        async def look(key: str) -> float | None:
            raise LeaseLost(key)

        q.add("a")
        with pytest.raises(BaseExceptionGroup) as lost:
            await Workers(q, look, count=3).run()
        assert lost.group_contains(LeaseLost)

    run(main)


def test_a_look_that_hangs_is_given_up() -> None:
    async def main() -> None:
        q: WorkQueue[str] = WorkQueue(BackOff(first=60.0))
        results: list[str] = []

        async def look(_: str) -> float | None:
            await asyncio.Event().wait()
            return None

        workers = Workers(q, look, count=1, on_done=lambda result, _: results.append(result), limit=0.05)
        working = asyncio.create_task(workers.run())
        q.add("a")
        while not results:
            await asyncio.sleep(0.01)
        assert results == ["error"]
        assert q.delayed == 1
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    run(main)
