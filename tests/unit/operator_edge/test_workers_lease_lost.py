"""A lease that is lost ends all workers, whatever they are waiting for at that moment."""

from __future__ import annotations

import asyncio

import pytest

from posetask_operator.edge.faults import LeaseLost
from posetask_operator.edge.workers import Workers
from posetask_operator.edge.workqueue import WorkQueue


def test_a_key_that_comes_while_the_workers_are_cancelled_keeps_none_of_them_alive() -> None:
    """``asyncio.wait_for`` of Python 3.11 forgets a cancellation that meets the end of its wait."""

    async def run() -> None:
        queue, looks = WorkQueue[str](), []

        async def look(key: str) -> float | None:
            if not looks:
                queue.add(key)  # its end wakes the workers, just when they are cancelled
            looks.append(key)
            await asyncio.sleep(0.05)  # the others wait again
            raise LeaseLost("somebody else has it")

        workers = Workers[str](queue, look, count=8)
        running = asyncio.ensure_future(workers.run())
        await asyncio.sleep(0.05)  # all of them wait
        queue.add("a/b")
        done, _ = await asyncio.wait({running}, timeout=10)
        left = running not in done
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # each by itself: the group has told them once, and they forgot
        with pytest.raises((ExceptionGroup, asyncio.CancelledError)) as said:
            await running
        assert not left, "a worker forgot that it was cancelled, and works on"
        assert isinstance(said.value, ExceptionGroup)
        assert any(isinstance(error, LeaseLost) for error in said.value.exceptions)

    asyncio.run(run())
