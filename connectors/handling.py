"""One action on its way through a sink: what is asked before the call, how often it is tried, how it is settled.

    record ─► decode ─► ledger ─► forbidden? ─► *started* ─► call ─► *settled* ─► outcome
                │         │                        ▲           │
          dead letter   settled: the same          └─ *waiting*┤ not done: again after a pause
                        outcome again                          └ refused, or too often: dead letter
                        started: uncertain

Forbidden is what has expired, was withdrawn, is stopped, has missed its hour or goes to a suppressed address.

The order of writes is the promise: *started* is acknowledged and read back before the call; *settled* before the
outcome; the outcome before the offset. So a crash anywhere leaves at worst a *started*, which the next owner judges.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.backoff import Backoff, Circuit
from connectors.broker import Record
from connectors.compacted import Stops, Suppressions, Withdrawals
from connectors.ledger import Ledger, Settled, Started, Waiting, replays
from connectors.metrics import CALL_SECONDS, CALLS, DELAY_SECONDS, SETTLED
from connectors.results import CONVERSION, DELIVERY, Results
from connectors.sink import DeliveryError, Refusal, Refused, Retry, Sink, Unavailable, Uncertain
from schemas.action import Action
from schemas.codec import decode_action
from schemas.errors import InvalidRecord, SchemaUnavailable


class Interrupted(Exception):
    """The partition is being given away between two tries; nothing is under way."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How one sink is run. Times are in seconds.

    `attempts` bounds the tries of one action that are its own fault; `call_timeout` guards against a sink that does not
    bound its own waiting; what was withdrawn, stopped or suppressed longer than `freshness` ago is known before a call.
    """

    name: str
    concurrency: int = 8
    attempts: int = 8
    backoff: Backoff = field(default_factory=Backoff)
    call_timeout: float = 60.0
    freshness: float = 1.0
    window: int = 500
    drain: float = 20.0
    commit_every: float = 1.0


@dataclass(slots=True)
class Errand:
    """A record under way. `calling`: between *started* and the outcome, where it should not be cancelled."""

    record: Record
    epoch: int = -1
    calling: bool = False
    closing: bool = False


def now_ms() -> int:
    """Milliseconds since 1970 UTC by this host's clock."""
    return time.time_ns() // 1_000_000


class Handler:
    """Brings actions of one sink from record to outcome. Many at once; per customer one at a time."""

    def __init__(  # noqa: PLR0913 - it is where everything meets
        self,
        sink: Sink,
        terms: Terms,
        ledger: Ledger,
        withdrawals: Withdrawals,
        stops: Stops,
        suppressions: Suppressions | None,
        results: Results,
        *,
        now: Callable[[], int] = now_ms,
        delivered: Callable[[int, Action], None] | None = None,
    ) -> None:
        self._sink = sink
        self._terms = terms
        self._ledger = ledger
        self._withdrawals = withdrawals
        self._stops = stops
        self._suppressions = suppressions
        self._results = results
        self._now = now
        self._delivered = delivered
        self._calls = asyncio.Semaphore(terms.concurrency)
        self.circuit = Circuit(terms.name, terms.backoff)

    async def handle(self, errand: Errand) -> None:
        """Bring one record to its end. Raises Fenced, BrokerDoubt or Interrupted: then its offset must not move."""
        action = await self._decode(errand)
        if action is None:
            return
        entry = self._ledger.get(errand.record.partition, action.action_id)
        attempt = 0
        if isinstance(entry, Settled):
            if not replays(entry, errand.record.offset):
                await self._tell(action, entry)
                return
        elif isinstance(entry, Waiting):
            attempt = entry.attempt
        elif isinstance(entry, Started):
            attempt = entry.attempt
            if not self._sink.honours_keys:
                if action.if_uncertain != "repeat":
                    await self._settle(errand, action, "uncertain", "stopped during the call")
                    return
                await self._results.outcome(action, "uncertain", self._now(), "stopped during the call")
        await self._try(errand, action, attempt)

    async def _decode(self, errand: Errand) -> Action | None:
        failures = 0
        while True:
            try:
                return decode_action(errand.record.value, errand.record.headers)
            except InvalidRecord as error:
                await self._results.dead_letter(errand.record, CONVERSION, error)
                SETTLED.labels(self._terms.name, "undecodable").inc()
                return None
            except SchemaUnavailable:
                failures += 1
                await asyncio.sleep(self._terms.backoff.seconds(failures))

    async def _try(self, errand: Errand, action: Action, attempt: int) -> None:
        mark = self.circuit.passed
        while True:
            left = (action.expires_at - self._now()) / 1000
            if left <= 0:
                await self._settle(errand, action, "expired")
                return
            probe = await self.circuit.enter(left)
            if probe is None:
                continue
            try:
                async with self._calls:
                    done = await self._attempt(errand, action, attempt + 1, mark)
            finally:
                probe.leave()
            if done is None:
                return
            attempt, wait = done
            mark = self.circuit.passed
            if errand.closing:
                raise Interrupted
            # No longer than to the expiry, and a little, so that it is found expired and not tried once more.
            await asyncio.sleep(max(0.0, min(wait, (action.expires_at - self._now()) / 1000 + 0.001)))

    def _forbidden(self, action: Action) -> tuple[str, str] | None:
        """The outcome, with its detail, of an action that must not be delivered.

        What a stop covers is withdrawn, not kept for when it is lifted: the moment it was decided for has passed by
        then, and service mails to the same customer need not wait behind it.
        """
        if action.expires_at <= self._now():
            return "expired", ""
        if self._withdrawals.get(action.action_id) is not None:
            return "withdrawn", ""
        if (scope := self._stops.covers(action)) is not None:
            return "withdrawn", f"stopped: {scope}"
        if action.quiet_from is not None and action.quiet_from <= self._now():
            return "missed", ""
        if self._suppressions is not None and action.to and self._suppressions.holds(action.channel, action.to):
            return "suppressed", ""
        return None

    async def _attempt(self, errand: Errand, action: Action, attempt: int, mark: int) -> tuple[int, float] | None:
        """One try; None when the action is settled, else the tries that count so far and the seconds to wait."""
        await self._withdrawals.follower.fresh(self._terms.freshness)
        await self._stops.follower.fresh(self._terms.freshness)
        if self._suppressions is not None:
            await self._suppressions.follower.fresh(self._terms.freshness)
        record, failed = errand.record, self._forbidden(action)
        if failed is not None:
            await self._settle(errand, action, *failed)
            return None
        if errand.closing:
            raise Interrupted
        errand.calling = True
        try:
            entry = Started(errand.epoch, record.offset, attempt, action.expires_at)
            await self._ledger.started(record.partition, action.action_id, entry)
            # However long that took: a stop older than `freshness` is known when the call begins.
            await self._stops.follower.fresh(self._terms.freshness)
            failed = self._forbidden(action)
            if failed is not None:
                await self._settle(errand, action, *failed)
                return None
            error, detail = await self._call(action)
            if error is None:
                await self._settle(errand, action, "delivered", detail)
                return None
            return await self._failed(errand, action, attempt, mark, error)
        finally:
            errand.calling = False

    async def _call(self, action: Action) -> tuple[DeliveryError | None, str]:
        begun = time.perf_counter()
        error: DeliveryError | None = None
        detail = ""
        try:
            async with asyncio.timeout(self._terms.call_timeout):
                detail = (await self._sink.deliver(action, action.action_id)).detail
        except DeliveryError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - whatever it was, the call may have been done
            error = Uncertain(type(failure).__name__)
            error.__cause__ = failure
        CALL_SECONDS.labels(self._terms.name).observe(time.perf_counter() - begun)
        CALLS.labels(self._terms.name, "done" if error is None else type(error).__name__.lower()).inc()
        if error is None or isinstance(error, Retry | Refused):
            self.circuit.reached()
        return error, detail

    async def _failed(
        self, errand: Errand, action: Action, attempt: int, mark: int, error: DeliveryError
    ) -> tuple[int, float] | None:
        if isinstance(error, Refused):
            if error.refusal is Refusal.BOUNCED:
                await self._settle(errand, action, "bounced", error.reason, permanent=True)
            else:
                await self._give_up(errand, action, error, "failed")
            return None
        retry_after = error.retry_after if isinstance(error, Retry | Unavailable) else None
        counts = True
        if isinstance(error, Retry):
            wait = self._terms.backoff.seconds(attempt, retry_after)
        else:
            # While nobody gets through, the channel is at fault and the try does not count; when others have got
            # through since this action's last try, the action may be what the channel dies of.
            wait = self.circuit.failed(retry_after)
            counts = self.circuit.passed > mark
        if isinstance(error, Uncertain) and not self._sink.honours_keys:
            if action.if_uncertain != "repeat":
                await self._settle(errand, action, "uncertain", error.reason)
                return None
            await self._results.outcome(action, "uncertain", self._now(), error.reason)
            counts = True
        if not counts:
            attempt -= 1
        elif attempt >= self._terms.attempts:
            await self._give_up(errand, action, error, "uncertain" if isinstance(error, Uncertain) else "failed")
            return None
        entry = Waiting(errand.epoch, errand.record.offset, attempt, action.expires_at)
        await self._ledger.waiting(errand.record.partition, action.action_id, entry)
        return attempt, wait

    async def _give_up(self, errand: Errand, action: Action, error: DeliveryError, kind: str) -> None:
        await self._results.dead_letter(errand.record, DELIVERY, error)
        await self._settle(errand, action, kind, error.reason, again=True)

    async def _settle(
        self,
        errand: Errand,
        action: Action,
        kind: str,
        detail: str = "",
        *,
        permanent: bool = False,
        again: bool = False,
    ) -> None:
        now = self._now()
        entry = Settled(errand.record.offset, action.expires_at, kind, now, permanent, detail, again)
        await self._ledger.settled(errand.record.partition, action.action_id, entry)
        await self._tell(action, entry)
        SETTLED.labels(self._terms.name, kind).inc()
        if kind == "delivered":
            DELAY_SECONDS.labels(self._terms.name).observe(max(0, now - action.proposed_at) / 1000)
            if self._delivered is not None:
                self._delivered(errand.record.partition, action)

    async def _tell(self, action: Action, entry: Settled) -> None:
        await self._results.outcome(action, entry.kind, entry.at, entry.detail, permanent=entry.permanent)
