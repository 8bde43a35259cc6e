"""A session: one stretch of a sink's work, from reading its ledger to a stop or a doubt about the broker.

It follows what must be known before a call, is a member of the sink's consumer group, and hands records to the shares
of the partitions held. Whatever fails in any of its tasks ends it; what it has not committed is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from connectors.broker import Broker, BrokerDoubt, Group, Record
from connectors.compacted import Stops, Suppressions, Withdrawals
from connectors.handling import Errand, Handler, Interrupted, Terms
from connectors.ledger import Ledger
from connectors.metrics import UNDER_WAY
from connectors.names import Names
from connectors.results import Results
from connectors.retraction import Retractions
from connectors.shares import Share
from connectors.sink import Sink
from schemas.action import Action, Withdrawal

FORGET_EVERY = 60.0  # tombstones for expired actions are no hurry


def owner() -> str:
    """A name for this process in claims, for people: host, process, and something unique."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


class Session:
    """`serving` is called when the ledger and what else must be known has been read."""

    def __init__(
        self,
        sink: Sink,
        terms: Terms,
        names: Names,
        broker: Broker,
        now: Callable[[], int],
        serving: Callable[[], None],
    ) -> None:
        self._terms, self._names, self._broker, self._now, self._serving = terms, names, broker, now, serving
        self._ledger = Ledger(broker, names.deliveries(terms.name), owner(), terms.name)
        self._withdrawals = Withdrawals(broker, names.withdrawn, self._withdrawn)
        self._stops = Stops(broker, names.control)
        self._suppressions = Suppressions(broker, names.suppressions) if sink.addressing else None
        results = Results(broker, terms.name, names.outcomes, names.dead_actions)
        self._retractions = Retractions(sink, terms, self._ledger, self._withdrawals, now)
        self.handler = Handler(
            sink,
            terms,
            self._ledger,
            self._withdrawals,
            self._stops,
            self._suppressions,
            results,
            now=now,
            delivered=self._delivered,
        )
        self._shares: dict[int, Share] = {}
        self._group: Group | None = None
        self._doubt: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._followers: list[asyncio.Task[None]] = []
        self._under_way = UNDER_WAY.labels(terms.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises what put the session in doubt."""
        stopped = asyncio.create_task(stop.wait())
        try:
            topic = self._names.actions
            await self._or_end(self._broker.companion(self._names.deliveries(self._terms.name), topic), stopped)
            if stop.is_set():
                return
            await self._or_end(self._follow(), stopped)
            if stop.is_set():
                return
            name = self._names.group(self._terms.name)
            self._group = await self._broker.group(topic, name, self._assigned, self._revoked)
            self._serving()
            await self._pump(self._group, stopped)
        finally:
            stopped.cancel()
            await self._finish()

    async def _or_end(self, work: Coroutine[Any, Any, Any], stopped: asyncio.Task[bool]) -> Any:
        """The result of `work`; None when the stop comes first. Raises the doubt when that comes first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, self._doubt, stopped], return_when=asyncio.FIRST_COMPLETED)
            if self._doubt.done():
                raise self._doubt.result()
            return task.result() if task.done() else None
        finally:
            task.cancel()
            # Its failure is of no interest any more, but asyncio complains about one that nobody has asked for.
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        followers = [self._ledger.follower, self._withdrawals.follower, self._stops.follower]
        if self._suppressions is not None:
            followers.append(self._suppressions.follower)
        self._followers = [self._watch(follower.run()) for follower in followers]
        await asyncio.gather(*(follower.reach_end() for follower in followers))

    def _watch(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside; whatever fails there ends the session."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, Interrupted) and not self._doubt.done():
            self._doubt.set_result(error)

    async def _pump(self, group: Group, stopped: asyncio.Task[bool]) -> None:
        committed = forgotten = time.monotonic()
        while not stopped.done():
            await self._or_end(group.read(self._take), stopped)
            for share in self._shares.values():
                self._regulate(group, share)
            now = time.monotonic()
            if now - committed >= self._terms.commit_every:
                committed = now
                self._under_way.set(sum(len(share.under_way) for share in self._shares.values()))
                await self._commit(list(self._shares.values()))
            if now - forgotten >= FORGET_EVERY:
                forgotten = now
                for share in self._shares.values():
                    share.beside(self._forget(share.partition))

    def _take(self, record: Record) -> None:
        share = self._shares.get(record.partition)
        if share is not None and not share.closing:
            share.take(record)

    def _regulate(self, group: Group, share: Share) -> None:
        """Read no more of a partition than its window: what cannot be delivered stays in the log."""
        if share.paused and len(share.under_way) <= self._terms.window // 2:
            share.paused = False
            group.resume(share.partition)
        elif not share.paused and len(share.under_way) >= self._terms.window:
            share.paused = True
            group.pause(share.partition)

    async def _assigned(self, partitions: list[int]) -> None:
        for partition in partitions:
            share = self._shares[partition] = Share(partition, self._watch, self._handle)
            share.beside(self._open(share))

    async def _handle(self, errand: Errand) -> None:
        await self.handler.handle(errand)

    async def _open(self, share: Share) -> None:
        share.open(await self._ledger.claim(share.partition))
        for work in self._retractions.due(share.partition):
            share.beside(work)

    async def _revoked(self, partitions: list[int]) -> None:
        shares = [self._shares[partition] for partition in partitions if partition in self._shares]
        await self._drain(shares)
        for share in shares:
            self._shares.pop(share.partition, None)

    async def _drain(self, shares: list[Share]) -> None:
        """Wait for the calls under way, within bounds, end the rest, and commit what is settled."""
        closed = [share.close() for share in shares]
        calls = [task for calling, _ in closed for task in calling]
        tasks = [task for _, every in closed for task in every]
        if calls:
            _, late = await asyncio.wait(calls, timeout=self._terms.drain)
            for task in late:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._commit(shares)

    async def _commit(self, shares: list[Share]) -> None:
        offsets = {share.partition: position for share in shares if (position := share.position()) is not None}
        if offsets and self._group is not None:
            await self._group.commit(offsets)
            for share in shares:
                if share.partition in offsets:
                    share.committed(offsets[share.partition])

    async def _forget(self, partition: int) -> None:
        await self._ledger.forget(partition, self._now())

    def _withdrawn(self, withdrawal: Withdrawal) -> None:
        for share in self._shares.values():
            self._retract(share, withdrawal.action_id)

    def _delivered(self, partition: int, action: Action) -> None:
        share = self._shares.get(partition)
        if share is not None:
            self._retract(share, action.action_id)

    def _retract(self, share: Share, action_id: str) -> None:
        if share.epoch >= 0 and not share.closing:
            work = self._retractions.one(share.partition, action_id)
            if work is not None:
                share.beside(work)

    async def _finish(self) -> None:
        try:
            # A broker in doubt cannot take the commit either; what is not committed is read again.
            with contextlib.suppress(BrokerDoubt):
                await self._drain(list(self._shares.values()))
        finally:
            self._shares.clear()
            self._under_way.set(0)
            if self._group is not None:
                await self._group.close()
            for task in self._followers:
                task.cancel()
            await asyncio.gather(*self._followers, return_exceptions=True)
