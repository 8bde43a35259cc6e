"""Following a topic: reading it whole, from its start to its end and on, with a way to wait for a point in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from connectors.broker import Broker, Record, Tail


class Follower:
    """Hands every record of a topic to `apply`, each partition's in order.

    `reach_end` waits for what stood in the topic when it was called, `fresh` for what stood there at most `age` ago.
    """

    def __init__(self, broker: Broker, topic: str, apply: Callable[[Record], None]) -> None:
        self.topic = topic
        self._broker = broker
        self._apply = apply
        self._tail: Tail | None = None
        self._begun = asyncio.Event()
        self._positions: dict[int, int] = {}
        self._waiting: list[tuple[dict[int, int], asyncio.Future[None]]] = []
        self._checking = asyncio.Lock()
        self._checked = float("-inf")

    async def run(self) -> None:
        """Follow until cancelled."""
        tail = self._tail = await self._broker.tail(self.topic)
        self._begun.set()
        try:
            while True:
                for record in await tail.read():
                    self._apply(record)
                self._positions = await tail.positions()
                self._wake()
        finally:
            await tail.close()

    def _reached(self, targets: dict[int, int]) -> bool:
        return all(self._positions.get(partition, 0) >= offset for partition, offset in targets.items())

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for targets, future in waiting:
            if not future.done():
                if self._reached(targets):
                    future.set_result(None)
                else:
                    self._waiting.append((targets, future))

    async def reach(self, partition: int, offset: int) -> None:
        """Wait until all below `offset` has been applied."""
        await self._reach({partition: offset})

    async def _reach(self, targets: dict[int, int]) -> None:
        if not self._reached(targets):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((targets, future))
            await future

    async def reach_end(self) -> None:
        """Wait until all that stands in the topic now has been applied."""
        await self._begun.wait()
        asked = time.monotonic()
        if self._tail is not None:
            await self._reach(await self._tail.ends())
        self._checked = max(self._checked, asked)

    async def fresh(self, age: float) -> None:
        """Wait until all that stood in the topic `age` seconds ago has been applied. Many may wait on one question."""
        if time.monotonic() - self._checked <= age:
            return
        async with self._checking:
            if time.monotonic() - self._checked > age:
                await self.reach_end()
