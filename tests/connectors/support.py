"""Sample actions, a sink that remembers its calls, and a runner, for tests of the sinks."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from connectors.backoff import Backoff
from connectors.broker import Broker, Record
from connectors.delivery import Delivery as Runtime
from connectors.handling import Terms, now_ms
from connectors.names import Names
from connectors.sink import Context, Delivery
from schemas.action import Action, Suppression, Withdrawal
from schemas.codec import decode_outcome, encode_action, encode_json
from schemas.control import Control
from schemas.identifiers import address_hash
from schemas.outcome import Outcome
from tests.connectors.memory import MemoryLog

NAMES = Names("t.", "email")
QUICK = Terms("email", backoff=Backoff(0.01, 0.02), commit_every=0.01, drain=1.0, freshness=0.0)


def action(**fields: Any) -> Action:
    """Return a sample action with an id of its own."""
    base: dict[str, Any] = {
        "action_id": str(uuid.uuid4()),
        "action": "send_reminder",
        "channel": "email",
        "profile": "customer:c1",
        "customer": "c1",
        "purpose": "marketing",
        "basis": "consent",
        "journey": "card",
        "journey_version": 1,
        "instance_id": "9f2c1c9e-0000-5000-8000-000000000001",
        "stage": "abandoned",
        "event_id": "e1",
        "proposed_at": now_ms(),
        "expires_at": now_ms() + 3_600_000,
        "to": "ann@example.org",
        "template": "resume-application",
    }
    return Action(**(base | fields))


class RecordingSink:
    """Remembers its calls; `answers` are what each call in turn raises, or None."""

    standing = False

    def __init__(self, *answers: BaseException | None, honours_keys: bool = False, retracts: bool = False) -> None:
        self.honours_keys = honours_keys
        self.addressing = True
        self.retracts = retracts
        self.calls: list[tuple[str, str]] = []
        self.times: list[float] = []
        self.withdrawn: list[str] = []
        self.answers = list(answers)
        self.during: Callable[[Action], Awaitable[None]] | None = None
        self.active: dict[str, int] = {}
        self.most = 0

    async def start(self, context: Context) -> None:
        """Nothing to make ready."""

    async def deliver(self, action: Action, key: str) -> Delivery:
        """Remember the call, and answer as told."""
        assert self.active.get(action.profile, 0) == 0, "two calls for one customer at once"
        self.calls.append((action.action_id, key))
        self.times.append(asyncio.get_running_loop().time())
        self.active[action.profile] = 1
        self.most = max(self.most, sum(self.active.values()))
        try:
            if self.during is not None:
                await self.during(action)
        finally:
            self.active[action.profile] = 0
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return Delivery()

    async def withdraw(self, withdrawal: Withdrawal) -> None:
        """Remember the withdrawal."""
        self.withdrawn.append(withdrawal.action_id)

    async def close(self) -> None:
        """Nothing to let go of."""

    @property
    def delivered(self) -> list[str]:
        """The ids of the actions, in the order of the calls."""
        return [action_id for action_id, _ in self.calls]


def publish(log: MemoryLog, *actions: Action, names: Names = NAMES) -> None:
    """Put actions into their topic, keyed by customer as the engine does."""
    for one in actions:
        log.put(names.actions, (one.customer or one.profile).encode(), encode_action(one))


def withdraw(log: MemoryLog, one: Action, names: Names = NAMES) -> None:
    """Withdraw an action as the engine does."""
    found = Withdrawal(
        action_id=one.action_id,
        channel=one.channel,
        profile=one.profile,
        customer=one.customer,
        reason="hold",
        at=now_ms(),
    )
    log.put(names.withdrawn, one.action_id.encode(), encode_json(found))


def suppress(log: MemoryLog, channel: str, address: str, names: Names = NAMES) -> None:
    """Suppress an address as the engine does."""
    hashed = address_hash(channel, address)
    found = Suppression(address=hashed, channel=channel, reason="contact_forbidden", at=now_ms())
    log.put(names.suppressions, hashed.encode(), encode_json(found))


def stop(log: MemoryLog, scope: str, names: Names = NAMES, *, stopped: bool = True) -> None:
    """Stop a scope, or let it go on, as `polku stop` and `polku resume` do."""
    log.put(names.control, scope.encode(), encode_json(Control(scope=scope, stopped=stopped, at=now_ms())))


def outcomes(log: MemoryLog, names: Names = NAMES) -> list[Outcome]:
    """Return what was written to `outcomes`."""
    return [decode_outcome(record.value, record.headers) for record in log.records(names.outcomes)]


def kinds(log: MemoryLog, names: Names = NAMES) -> list[str]:
    """Return the kinds of all outcomes, sorted."""
    return sorted(outcome.kind for outcome in outcomes(log, names))


def dead(log: MemoryLog, names: Names = NAMES) -> list[Record]:
    """Return the dead letters."""
    return log.records(names.dead_actions)


def headers(record: Record) -> dict[str, str]:
    """Return a record's headers as text."""
    return {name: value.decode() for name, value in record.headers}


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(
    sink: Any, broker: Broker, terms: Terms = QUICK, names: Names = NAMES, now: Callable[[], int] = now_ms
) -> AsyncIterator[Runtime]:
    """Run a sink, and stop it in an orderly way at the end."""
    stop = asyncio.Event()
    runtime = Runtime(sink, terms, names, broker, now)
    task = asyncio.create_task(runtime.run(stop))
    try:
        yield runtime
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)
