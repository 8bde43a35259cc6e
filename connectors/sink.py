"""The sink: what the border to one channel system must be able to do. The contract is the docstring of `Sink`.

The exceptions by which a sink says how a call ended:

    DeliveryError
    ├── Retry          certainly not done; this action may be tried again, and the try counts
    ├── Unavailable    certainly not done; the channel is down or throttles everybody: no fault of this action
    ├── Uncertain      perhaps done: the call went out and no answer came back
    └── Refused        certainly not done, and never will be
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from schemas.action import Action, Withdrawal


class Refusal(Enum):
    """Why an action can never be delivered."""

    BOUNCED = "bounced"  # the address is dead: the outcome is a permanent bounce
    INVALID = "invalid"  # the action is at fault: the outcome is `failed`, with a dead letter


class DeliveryError(Exception):
    """A call that did not succeed. `reason` is short and without customer data: it goes into outcomes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(DeliveryError):
    """Not done; try again, at the earliest after `retry_after` seconds (None: the runtime chooses)."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unavailable(DeliveryError):
    """Not done, because the channel cannot be reached or throttles everybody, perhaps for `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Uncertain(DeliveryError):
    """Perhaps done: nobody can know without asking the channel."""


class Refused(DeliveryError):
    """Not done, for good."""

    def __init__(self, reason: str, refusal: Refusal = Refusal.INVALID) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Delivery:
    """A call that succeeded; `detail` (no customer data) goes into the outcome."""

    detail: str = ""


Report = Callable[[Action, str, str], Coroutine[Any, Any, None]]
Resolve = Callable[[str], str]


def same(identifier: str) -> str:
    """The resolver of a runtime that follows no identities: everybody is who they say."""
    return identifier


def nobody(profile: str) -> list[str]:
    """The aliases that a runtime without identities knows."""
    return []


def always() -> bool:
    """A runtime that calls `deliver` only when it is ready."""
    return True


async def unheard(action: Action, kind: str, detail: str) -> None:
    """The report of a runtime that takes none."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a runtime gives to a sink.

    `report(action, kind, detail)` says what became of an action after `deliver` returned (shown, clicked); it is
    idempotent by (action, kind) and never raises. `resolve(kind:id)` is the profile that speaks for an identifier now:
    that of the customer who holds it, through merged customers, else its own. `aliases(profile)` are the customers who
    were merged into that one. `ready()`: all that stood in the topics at the start has been delivered or withdrawn, and
    the sink is not cut off from the topics.
    """

    report: Report = unheard
    resolve: Resolve = same
    aliases: Callable[[str], list[str]] = nobody
    ready: Callable[[], bool] = always


class Sink(Protocol):
    """The border to one channel system.

    Call order: `start` once and before all else, then any number of `deliver` and `withdraw`, `close` once at the end,
    also after a failed `start`, and never before the calls under way have returned or been cancelled.

    Concurrency: `deliver` is called for several customers at once (the configured bound), for one customer (the
    record's key) one at a time and in the order of the topic.

    Retries: the runtime repeats, a sink never does. A sink says by exception how a call ended, and must be honest: what
    raises `Retry`, `Unavailable` or `Refused` was certainly not done. Any other exception, a time-out imposed from
    outside included, counts as `Uncertain`. A sink bounds its own waiting.

    Guarantee: before each call the runtime has asked the ledger, the expiry, the withdrawals and (for an addressing
    sink) the suppressions, and has written *started*. `deliver` is called again for an action only after it was
    certainly not done, or with the same `key` where `honours_keys`, or where the action says `repeat`. So: once where
    the channel honours the key, at most once with `drop`, at least once with `repeat`.

    `withdraw` comes to sinks that are `standing` or that `retract`, at least once, after `deliver` of that action
    returned; it must be idempotent. A standing sink forgets expired actions by itself.
    """

    honours_keys: bool
    """The channel does a call with a key it has seen before once only."""
    addressing: bool
    """The action's `to` is an address, to be checked against the suppressions."""
    standing: bool
    """Keeps actions in order to show them: every instance is given all of them, those of before its start included."""
    retracts: bool
    """Can take back what it delivered."""

    async def start(self, context: Context) -> None:
        """Make ready. Must not need the channel to be up: a channel that is down pauses its sink, and stops nothing."""
        ...

    async def deliver(self, action: Action, key: str) -> Delivery:
        """Do what the action asks, once. `key` (the action's id) is the same whenever the action is the same."""
        ...

    async def withdraw(self, withdrawal: Withdrawal) -> None:
        """Take back what was delivered."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
