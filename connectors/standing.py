"""Standing: the runtime of a sink that keeps actions in order to show them, such as banners on a page.

Every instance reads the whole actions topic, the withdrawals and the identities, without a consumer group, and keeps
what has not expired; what a stop covers is hidden while that lasts. The ledger `deliveries.<sink>` holds one settled
entry per action, whoever writes it first: *delivered* when it was first shown, *expired* or *withdrawn* when it never
was. Outcomes are written before their entries: a crash between them writes the same again, which changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from connectors.broker import Broker, BrokerDoubt, Record
from connectors.compacted import Identities, Stops, Withdrawals
from connectors.follow import Follower
from connectors.handling import Terms, now_ms
from connectors.ledger import KEEP_MS, Ledger, Settled
from connectors.metrics import RESTARTS, SERVING, SETTLED, STANDING
from connectors.names import Names
from connectors.results import CONVERSION, Results
from connectors.session import FORGET_EVERY, owner
from connectors.sink import Context, Sink
from schemas.action import Action, Withdrawal
from schemas.codec import decode_action
from schemas.errors import CodecError
from schemas.outcome import KINDS as OUTCOME_KINDS

log = structlog.get_logger("polku.sinks")

# An action, a withdrawal, or None: what is stopped has changed.
News = Record | Withdrawal | None

BEAT = 1.0
# What expired longer ago than this is no news to anybody, and its ledger entry may be gone.
NEWS_MS = KEEP_MS // 2
# A sink that cannot learn for this long (seconds) what was withdrawn shows nothing rather than something wrong.
CUT_OFF = 15.0


class Standing:
    """Runs one standing sink until told to stop. `state` is starting, serving or stopped."""

    def __init__(self, sink: Sink, terms: Terms, names: Names, broker: Broker, now: Callable[[], int] = now_ms) -> None:
        self._sink = sink
        self._terms = terms
        self._names = names
        self._broker = broker
        self._now = now
        self._results = Results(broker, terms.name, names.outcomes, names.dead_actions)
        self._identities = Identities(broker, names.identities)
        self._reported: set[tuple[str, str]] = set()
        self._known: dict[str, tuple[int, int, Action]] = {}
        self._hidden: set[str] = set()
        self._stops = Stops(broker, names.control)
        self._ledger = Ledger(broker, "", owner(), terms.name)
        self._forgotten = time.monotonic()
        self.state = "stopped"

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._terms.name

    def _enter(self, state: str) -> None:
        self.state = state
        SERVING.labels(self._terms.name).set(state == "serving")

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises what the sink's `start` raises."""
        failures = 0
        context = Context(
            self._report,
            self._resolve,
            self._aliases,
            lambda: self.state == "serving",
        )
        try:
            self._enter("starting")
            await self._sink.start(context)
            while not stop.is_set():
                try:
                    await self._session(stop)
                    failures = 0
                except BrokerDoubt as doubt:
                    failures += 1
                    self._enter("starting")
                    RESTARTS.labels(self._terms.name, type(doubt).__name__.lower()).inc()
                    seconds = self._terms.backoff.seconds(failures)
                    log.warning("the sink starts over", sink=self.name, reason=str(doubt), seconds=round(seconds, 1))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), seconds)
        finally:
            self._enter("stopped")
            await self._sink.close()

    def _resolve(self, identifier: str) -> str:
        return self._identities.resolve(identifier)

    def _aliases(self, profile: str) -> list[str]:
        return self._identities.aliases(profile)

    async def _session(self, stop: asyncio.Event) -> None:
        names, broker = self._names, self._broker
        topic = names.actions
        ledger = names.deliveries(self._terms.name)
        self._ledger = Ledger(broker, ledger, owner(), self._terms.name)
        self._identities = Identities(broker, names.identities)
        news: asyncio.Queue[News] = asyncio.Queue()
        stops = self._stops = Stops(broker, names.control, lambda: news.put_nowait(None))
        withdrawals = Withdrawals(broker, names.withdrawn, news.put_nowait)
        actions = Follower(broker, topic, news.put_nowait)
        followers = [self._ledger.follower, self._identities.follower, withdrawals.follower, stops.follower, actions]
        tasks: list[asyncio.Task[Any]] = []
        stopped = asyncio.create_task(stop.wait())
        try:
            await self._first([broker.companion(ledger, topic), stopped])
            if stop.is_set():
                return
            tasks += [asyncio.create_task(follower.run()) for follower in followers]
            await self._first([self._caught_up(followers), *tasks, stopped])
            if stop.is_set():
                return
            while not news.empty():
                await self._learn(news.get_nowait(), withdrawals)
            # What an earlier session knew: withdrawn meanwhile, or perhaps cut off before the sink had it.
            for action_id, (_, _, action) in list(self._known.items()):
                if (withdrawal := withdrawals.get(action_id)) is not None:
                    await self._end(action_id, "withdrawn", withdrawal)
                else:
                    await self._show(action)
            self._enter("serving")
            while not stop.is_set():
                await self._beat(news, withdrawals, followers, [*tasks, stopped])
        finally:
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)

    async def _caught_up(self, followers: list[Follower]) -> None:
        await asyncio.gather(*(follower.reach_end() for follower in followers))

    async def _first(self, work: list[Coroutine[Any, Any, Any] | asyncio.Task[Any]]) -> None:
        """Wait for the first of these; raises what it raised. The first one is ours to cancel."""
        futures = [asyncio.ensure_future(one) for one in work]
        try:
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                future.result()
        finally:
            futures[0].cancel()
            await asyncio.gather(futures[0], return_exceptions=True)

    async def _beat(
        self,
        news: asyncio.Queue[News],
        withdrawals: Withdrawals,
        followers: list[Follower],
        tasks: list[asyncio.Task[Any]],
    ) -> None:
        """Learn what comes for a second, then see to what has expired, and that we are not cut off."""

        async def learn() -> None:
            end = time.monotonic() + BEAT
            while (left := end - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left):
                        found = await news.get()
                except TimeoutError:
                    return
                await self._learn(found, withdrawals)

        async def fresh() -> None:
            await asyncio.gather(*(follower.fresh(CUT_OFF / 3) for follower in followers))

        await self._first([learn(), *tasks])
        try:
            async with asyncio.timeout(CUT_OFF):
                await self._first([fresh(), *tasks])
        except TimeoutError as error:
            raise BrokerDoubt("cut off from the withdrawals") from error
        now = self._now()
        for action_id, (_, _, action) in list(self._known.items()):
            if action.expires_at <= now:
                await self._end(action_id, "expired", None)
        if time.monotonic() - self._forgotten > FORGET_EVERY:
            self._forgotten = time.monotonic()
            for partition in self._ledger.partitions():
                await self._ledger.forget(partition, now)
        STANDING.labels(self.name).set(len(self._known))

    async def _learn(self, found: News, withdrawals: Withdrawals) -> None:
        if found is None:
            for _, _, action in list(self._known.values()):
                if (self._stops.covers(action) is not None) != (action.action_id in self._hidden):
                    await self._show(action)
            return
        if isinstance(found, Withdrawal):
            await self._end(found.action_id, "withdrawn", found)
            return
        try:
            action = decode_action(found.value, found.headers)
        except CodecError as error:
            await self._condemn(found, error)
            return
        if action.action_id in self._known or action.expires_at + NEWS_MS <= self._now():
            return
        self._known[action.action_id] = (found.partition, found.offset, action)
        withdrawal = withdrawals.get(action.action_id)
        if withdrawal is not None:
            await self._end(action.action_id, "withdrawn", withdrawal)
        elif action.expires_at <= self._now():
            await self._end(action.action_id, "expired", None)
        else:
            await self._show(action)

    async def _show(self, action: Action) -> None:
        """Put an action up, or take it down while a stop covers it."""
        scope = self._stops.covers(action)
        if scope is None:
            self._hidden.discard(action.action_id)
            await self._sink.deliver(action, action.action_id)
            return
        self._hidden.add(action.action_id)
        hidden = Withdrawal(
            action_id=action.action_id,
            channel=action.channel,
            profile=action.profile,
            customer=action.customer,
            reason=f"stopped: {scope}",
            at=self._now(),
        )
        await self._sink.withdraw(hidden)

    async def _condemn(self, record: Record, error: CodecError) -> None:
        """A dead letter, noted in the ledger, or every start of every instance would write it again."""
        name = f"{record.partition}@{record.offset}"
        if self._ledger.get(record.partition, name) is None:
            await self._results.dead_letter(record, CONVERSION, error)
            # No expiry: the record may stay in its topic for as long as the topic is kept.
            entry = Settled(record.offset, 2**53, "failed", self._now())
            await self._ledger.settled(record.partition, name, entry)

    async def _end(self, action_id: str, kind: str, withdrawal: Withdrawal | None) -> None:
        """Take an action down. It was delivered when it was shown; else this is what became of it."""
        known = self._known.pop(action_id, None)
        self._hidden.discard(action_id)
        if known is None:
            return
        partition, offset, action = known
        if withdrawal is not None:
            await self._sink.withdraw(withdrawal)
        shown = (action_id, "delivered") in self._reported
        self._reported -= {(action_id, word) for word in OUTCOME_KINDS}
        if not shown and self._ledger.get(partition, action_id) is None:
            await self._settle(partition, offset, action, kind)

    async def _report(self, action: Action, kind: str, detail: str) -> None:
        """Take a sink's word on an action. After a failure the next showing reports again."""
        known = self._known.get(action.action_id)
        if known is None or (action.action_id, kind) in self._reported:
            return
        self._reported.add((action.action_id, kind))
        partition, offset, _ = known
        try:
            if kind != "delivered":
                await self._results.outcome(action, kind, self._now(), detail)
            elif self._ledger.get(partition, action.action_id) is None:
                await self._settle(partition, offset, action, kind)
        except BrokerDoubt:
            self._reported.discard((action.action_id, kind))

    async def _settle(self, partition: int, offset: int, action: Action, kind: str) -> None:
        now = self._now()
        await self._results.outcome(action, kind, now)
        await self._ledger.settled(partition, action.action_id, Settled(offset, action.expires_at, kind, now))
        SETTLED.labels(self.name, kind).inc()
