"""Delivery: runs a sink whose actions are shared among processes by a consumer group, over one session after another.

Who works on what stands in `session.py` and `shares.py`, the rules about one action in `handling.py`, those about
doubt in `ledger.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from connectors.broker import Broker, BrokerDoubt
from connectors.handling import Terms, now_ms
from connectors.ledger import Fenced
from connectors.metrics import RESTARTS, SERVING
from connectors.names import Names
from connectors.session import Session
from connectors.sink import Context, Sink

log = structlog.get_logger("polku.sinks")


class Delivery:
    """Runs one sink until told to stop. `state` is starting, serving, paused or stopped."""

    def __init__(self, sink: Sink, terms: Terms, names: Names, broker: Broker, now: Callable[[], int] = now_ms) -> None:
        self._sink = sink
        self._terms = terms
        self._names = names
        self._broker = broker
        self._now = now
        self._session: Session | None = None
        self._state = "stopped"

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._terms.name

    @property
    def state(self) -> str:
        """What the sink is doing, in one word."""
        if self._state == "serving" and self._session is not None and self._session.handler.circuit.paused:
            return "paused"
        return self._state

    def _enter(self, state: str) -> None:
        self._state = state
        SERVING.labels(self._terms.name).set(state == "serving")

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises OffsetOutsideLog, and what the sink's `start` raises."""
        failures = 0
        try:
            await self._sink.start(Context())
            while not stop.is_set():
                self._enter("starting")
                begun = time.monotonic()
                self._session = Session(
                    self._sink, self._terms, self._names, self._broker, self._now, lambda: self._enter("serving")
                )
                try:
                    await self._session.run(stop)
                except (Fenced, BrokerDoubt) as doubt:
                    calm = time.monotonic() - begun > self._terms.backoff.cap
                    failures = 1 if calm else failures + 1
                    await self._rest(stop, doubt, self._terms.backoff.seconds(failures))
        finally:
            self._enter("stopped")
            await self._sink.close()

    async def _rest(self, stop: asyncio.Event, doubt: Exception, seconds: float) -> None:
        self._enter("starting")
        RESTARTS.labels(self._terms.name, type(doubt).__name__.lower()).inc()
        reason = str(doubt) or "another process claimed a partition"
        log.warning("the sink starts over", sink=self._terms.name, reason=reason, seconds=round(seconds, 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
