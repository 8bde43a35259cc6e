"""Shares: the partitions a sink holds, each with its customers' lanes and the offset that may be committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from connectors.broker import Record
from connectors.handling import Errand

Watch = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(slots=True)
class Lane:
    """The records of one customer, worked off in order by one task."""

    errands: deque[Errand] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Share:
    """A partition held. `epoch` is its claim's (-1: not claimed yet, its lanes wait)."""

    def __init__(self, partition: int, watch: Watch, handle: Callable[[Errand], Coroutine[Any, Any, None]]) -> None:
        self.partition = partition
        self.epoch = -1
        self.closing = False
        self.paused = False
        self.under_way: dict[int, Errand] = {}
        self._watch = watch
        self._handle = handle
        self._next: int | None = None
        self._committed: int | None = None
        self._lanes: dict[bytes, Lane] = {}
        self._beside: set[asyncio.Task[None]] = set()

    def take(self, record: Record) -> None:
        """Put a record into its customer's lane; one without a key has a lane of its own."""
        if self._next is None:
            self._committed = record.offset
        self._next = record.offset + 1
        errand = Errand(record)
        self.under_way[record.offset] = errand
        key = record.key if record.key is not None else b"\x00%d" % record.offset
        lane = self._lanes.setdefault(key, Lane())
        lane.errands.append(errand)
        if self.epoch >= 0 and lane.task is None:
            lane.task = self._watch(self._work(key, lane))

    def open(self, epoch: int) -> None:
        """The partition is claimed: the lanes begin."""
        self.epoch = epoch
        for key, lane in self._lanes.items():
            lane.task = self._watch(self._work(key, lane))

    async def _work(self, key: bytes, lane: Lane) -> None:
        while lane.errands and not self.closing:
            errand = lane.errands[0]
            errand.epoch = self.epoch
            await self._handle(errand)
            lane.errands.popleft()
            del self.under_way[errand.record.offset]
        if not lane.errands:
            del self._lanes[key]

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do other work for this partition, which ends with the share."""
        task = self._watch(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def position(self) -> int | None:
        """The offset to commit, if it has moved: records enter in order, so the first under way is the least."""
        position = next(iter(self.under_way), self._next)
        return None if position == self._committed else position

    def committed(self, offset: int) -> None:
        """The group knows of `offset`."""
        self._committed = offset

    def close(self) -> tuple[list[asyncio.Task[None]], list[asyncio.Task[None]]]:
        """Begin nothing more. Cancels what is outside a call; returns the tasks inside one, and all tasks."""
        self.closing = True
        calls = []
        for errand in self.under_way.values():
            errand.closing = True
        for lane in self._lanes.values():
            if lane.task is not None:
                if lane.errands and lane.errands[0].calling:
                    calls.append(lane.task)
                else:
                    lane.task.cancel()
        for task in self._beside:
            task.cancel()
        lanes = [lane.task for lane in self._lanes.values() if lane.task is not None]
        return calls, [*lanes, *self._beside]
