"""Retractions: taking back what a sink delivered, when the engine withdraws it and the sink can.

Done at least once: the ledger marks a delivery as retracted after `withdraw` returned, and whoever claims a partition
looks for deliveries that are withdrawn and not marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from connectors.compacted import Withdrawals
from connectors.handling import Terms
from connectors.ledger import Ledger, Settled
from connectors.metrics import CALLS
from connectors.sink import Refused, Sink


class Retractions:
    """Finds what is to be taken back, and takes it back."""

    def __init__(
        self, sink: Sink, terms: Terms, ledger: Ledger, withdrawals: Withdrawals, now: Callable[[], int]
    ) -> None:
        self._sink = sink
        self._terms = terms
        self._ledger = ledger
        self._withdrawals = withdrawals
        self._now = now
        self._under_way: set[str] = set()

    def due(self, partition: int) -> list[Coroutine[Any, Any, None]]:
        """The work that a partition's ledger shows when it is claimed."""
        if not self._sink.retracts:
            return []
        found = (self.one(partition, action_id) for action_id, _ in self._ledger.entries(partition))
        return [work for work in found if work is not None]

    def one(self, partition: int, action_id: str) -> Coroutine[Any, Any, None] | None:
        """The work for one action: None when there is nothing to take back, or it is being done."""
        entry = self._ledger.get(partition, action_id)
        if (
            not self._sink.retracts
            or action_id in self._under_way
            or not isinstance(entry, Settled)
            or entry.kind != "delivered"
            or entry.retracted
            or self._withdrawals.get(action_id) is None
        ):
            return None
        self._under_way.add(action_id)
        return self._retract(partition, action_id, entry)

    async def _retract(self, partition: int, action_id: str, entry: Settled) -> None:
        failures = 0
        try:
            while entry.expires_at > self._now():
                withdrawal = self._withdrawals.get(action_id)
                if withdrawal is None:
                    return
                try:
                    async with asyncio.timeout(self._terms.call_timeout):
                        await self._sink.withdraw(withdrawal)
                    break
                except Refused:
                    CALLS.labels(self._terms.name, "withdraw-refused").inc()
                    break
                except Exception as error:  # noqa: BLE001 - to withdraw again is harmless, not to withdraw is not
                    failures += 1
                    CALLS.labels(self._terms.name, "withdraw-failed").inc()
                    wait = self._terms.backoff.seconds(failures, getattr(error, "retry_after", None))
                    await asyncio.sleep(wait)
            await self._ledger.settled(partition, action_id, msgspec.structs.replace(entry, retracted=True))
        finally:
            self._under_way.discard(action_id)
