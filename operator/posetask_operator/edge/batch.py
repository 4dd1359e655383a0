"""Blocking admin calls of many tasks as few: what arrives while one call runs goes out in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from posetask.errors import PoseTaskError

T = TypeVar("T")


class Batcher(Generic[T]):
    """One kind of call, in a thread of its own, one call at a time.

    Args:
        call: Blocks; raises where any of its items fails.
        most: Items in one call (KRaft refuses more than 10,000 partitions in a request).
    """

    def __init__(self, call: Callable[[Sequence[T]], None], *, most: int = 200) -> None:
        self._call, self._most = call, most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-admin")
        self._waiting: list[tuple[Sequence[T], asyncio.Future[None]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def do(self, items: Sequence[T]) -> None:
        """Do it with whatever else waits.

        Raises:
            PoseTaskError: It failed for these items.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="kafka-batch")
        await future

    async def close(self) -> None:
        """End after the call that runs."""
        if self._runner is not None:
            self._runner.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while self._waiting:
            taken = [self._waiting.pop(0)]
            size = len(taken[0][0])
            while self._waiting and size + len(self._waiting[0][0]) <= self._most:
                size += len(self._waiting[0][0])
                taken.append(self._waiting.pop(0))
            await self._together(taken)

    async def _together(self, taken: list[tuple[Sequence[T], asyncio.Future[None]]]) -> None:
        try:
            await self._once([item for items, _ in taken for item in items])
        except PoseTaskError as error:
            if len(taken) == 1 or error.retryable:  # brokers that are away are away for each of them
                _settle(taken, error)
                return
            for one in taken:  # somebody's fault: only they shall hear of it
                await self._together([one])
        except Exception as error:  # a defect too must reach those who wait
            _settle(taken, error)
        else:
            _settle(taken, None)

    async def _once(self, items: Sequence[T]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._call, items)


def _settle(taken: list[tuple[Sequence[T], asyncio.Future[None]]], error: Exception | None) -> None:
    for _, future in taken:
        if future.done():
            continue  # whoever waited was cancelled
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
