"""What sinks know from compacted topics: withdrawals, suppressed addresses, stops, who holds an identifier."""

from __future__ import annotations

from collections.abc import Callable

from connectors.broker import Broker, Record
from connectors.follow import Follower
from schemas.action import Action, Withdrawal
from schemas.codec import InvalidRecord, decode_control, decode_identity, decode_withdrawal
from schemas.control import scopes_of
from schemas.identifiers import CUSTOMER, address_hash, contact_key

# A customer merged into one merged into another, and so on: the engine keeps chains short; this ends a circle.
MAX_ALIASES = 16


class Withdrawals:
    """The ids of all withdrawn actions; `changed` is called with each withdrawal as it is read."""

    def __init__(self, broker: Broker, topic: str, changed: Callable[[Withdrawal], None] | None = None) -> None:
        self._changed = changed
        self._ids: dict[str, Withdrawal] = {}
        self.follower = Follower(broker, topic, self.apply)

    def apply(self, record: Record) -> None:
        """Take in one record of the topic."""
        if record.key is None:
            return
        action_id = record.key.decode(errors="replace")
        if record.value is None:
            self._ids.pop(action_id, None)
            return
        try:
            withdrawal = decode_withdrawal(record.value)
        except InvalidRecord:
            # The key alone says that it must not be delivered; to be silent is the safe side.
            withdrawal = Withdrawal(action_id=action_id, channel="", profile="", customer=None, reason="", at=0)
        self._ids[action_id] = withdrawal
        if self._changed is not None:
            self._changed(withdrawal)

    def get(self, action_id: str) -> Withdrawal | None:
        """The withdrawal of an action, if there is one."""
        return self._ids.get(action_id)


class Stops:
    """What is stopped now; `changed` is called after each word on it."""

    def __init__(self, broker: Broker, topic: str, changed: Callable[[], None] | None = None) -> None:
        self._changed = changed
        self._scopes: set[str] = set()
        self.follower = Follower(broker, topic, self.apply)

    def apply(self, record: Record) -> None:
        """Take in one record of the topic. An unreadable one stops: to be silent is the safe side."""
        if record.key is None:
            return
        scope = record.key.decode(errors="replace")
        try:
            stopped = record.value is not None and decode_control(record.value).stopped
        except InvalidRecord:
            stopped = True
        if stopped:
            self._scopes.add(scope)
        else:
            self._scopes.discard(scope)
        if self._changed is not None:
            self._changed()

    def covers(self, action: Action) -> str | None:
        """The scope of a stop that keeps an action from being delivered, if there is one."""
        if not self._scopes:
            return None
        return next((scope for scope in scopes_of(action.basis, action.journey) if scope in self._scopes), None)


class Suppressions:
    """The hashes of all addresses that must not be contacted: dead ones, and those where somebody said so."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._keys: set[str] = set()
        self.follower = Follower(broker, topic, self.apply)

    def apply(self, record: Record) -> None:
        """Take in one record of the topic."""
        if record.key is None:
            return
        if record.value is None:
            self._keys.discard(record.key.decode(errors="replace"))
        else:
            self._keys.add(record.key.decode(errors="replace"))

    def holds(self, channel: str, address: str) -> bool:
        """Whether the address must not be contacted on this channel."""
        hashed = address_hash(channel, address)
        return hashed in self._keys or contact_key(hashed) in self._keys


class Identities:
    """Who holds an identifier now. A customer who was merged into another is an identifier of that other."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._holders: dict[str, str] = {}
        self._merged: dict[str, set[str]] = {}
        self.follower = Follower(broker, topic, self.apply)

    def apply(self, record: Record) -> None:
        """Take in one record of the topic. An unreadable one frees the identifier: nobody is shown another's."""
        if record.key is None:
            return
        identifier = record.key.decode(errors="replace")
        customer = None
        if record.value is not None:
            try:
                customer = decode_identity(record.value).customer
            except InvalidRecord:
                customer = None
        former = self._holders.pop(identifier, None)
        if former is not None and former in self._merged:
            self._merged[former].discard(identifier)
        if customer is not None:
            holder = customer if customer.startswith(f"{CUSTOMER}:") else f"{CUSTOMER}:{customer}"
            self._holders[identifier] = holder
            if identifier.startswith(f"{CUSTOMER}:"):
                self._merged.setdefault(holder, set()).add(identifier)

    def resolve(self, identifier: str) -> str:
        """The profile that speaks for an identifier: its holder's, through merged customers, else its own."""
        for _ in range(MAX_ALIASES):
            holder = self._holders.get(identifier)
            if holder is None or holder == identifier:
                return identifier
            identifier = holder
        return identifier

    def aliases(self, profile: str) -> list[str]:
        """The customers who were merged into this one, over any number of steps."""
        found, waiting = {profile}, [profile]
        while waiting:
            for alias in sorted(self._merged.get(waiting.pop(), ())):
                if alias not in found:
                    found.add(alias)
                    waiting.append(alias)
        return sorted(found - {profile})
