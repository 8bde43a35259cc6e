"""A task's inbox: fetches in order, told apart from those before the last seek."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.transport import Batch


# Records of a log beyond what was fetched that make a backlog: a second's at a rate that a task keeps up with.
BACKLOG = 5_000


class Inbox:
    """The fetches that wait for a task, and what wakes it. `number` is the last fetch taken of the epoch.

    `beyond` is how much of the log lay beyond the last fetch, `came` when that arrived (s, monotonic).
    """

    def __init__(self) -> None:
        self.epoch = -1
        self.number = 0
        self.records = 0
        self.gap = False
        self.beyond, self.came = 0, 0.0
        self.wake = asyncio.Event()
        self._batches: deque[tuple[int, Any]] = deque()

    def begin(self, epoch: int) -> None:
        """Keep only batches of `epoch` from now on."""
        early = [batch for batch in self._batches if batch[0] == epoch]
        self.epoch, self.number, self.gap, self.beyond = epoch, len(early), False, 0
        self._batches = deque(early)
        self.records = sum(len(records) for _, records in early)

    def put(self, batch: Batch) -> None:
        """Take a batch, unless it was fetched before the last seek. A missing one makes a gap: seek again."""
        if batch.epoch < self.epoch:
            return
        if batch.epoch == self.epoch:
            if batch.number != self.number + 1:
                self.gap = True
            if self.gap:
                return
            self.number = batch.number
        self._batches.append((batch.epoch, batch.records))
        self.records += len(batch.records)
        self.beyond, self.came = batch.end - batch.records[-1].offset, time.monotonic()
        self.wake.set()

    def more_comes(self, seconds: float) -> bool:
        """Tell whether a backlog lies beyond what is here, and the last fetch is no older than that."""
        return self.beyond > BACKLOG and time.monotonic() - self.came < seconds

    def take(self, limit: int) -> list[Any]:
        """Return up to `limit` records."""
        taken: list[Any] = []
        while self._batches and self._batches[0][0] == self.epoch and len(taken) < limit:
            epoch, records = self._batches.popleft()
            room = limit - len(taken)
            if len(records) > room:
                self._batches.appendleft((epoch, records[room:]))
                records = records[:room]
            taken += records
        self.records -= len(taken)
        return taken
