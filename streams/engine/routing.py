"""Where a touchpoint or outcome goes: the journal entries it becomes, with the claims it makes on identifiers.

One `Router` serves one origin partition. It remembers, for a minute of record time, which pairs of customer and
identifier it has claimed, so that a session's every click does not ask again who owns the device.
"""

from __future__ import annotations

from schemas.identifiers import CUSTOMER, DEFAULT_KINDS, normalise
from schemas.journal import Claim, Event, Origin, ProfileEntry, Unite
from schemas.journal import Outcome as OutcomeEntry
from schemas.outcome import Outcome
from schemas.touchpoint import CUSTOMERS_MERGED, LOGGED_OUT, Touchpoint

CLAIM_EVERY = 60_000
# Claims remembered before those older than a minute are dropped; a bound on memory, not a rule. The bound then becomes
# twice what is left, so that dropping costs a constant time per claim however many come in a minute.
REMEMBERED = 20_000


class Router:
    """Turns the records of one origin partition into journal entries."""

    def __init__(self, kinds: tuple[str, ...] = DEFAULT_KINDS) -> None:
        """`kinds` are the declared kinds of identifiers, in the order in which they name an event's profile."""
        self._kinds = kinds
        self._claimed: dict[str, tuple[str | None, int]] = {}
        self._drop_at = REMEMBERED

    def touchpoint(self, origin: Origin, event: Touchpoint, traceparent: str | None = None) -> list[ProfileEntry]:
        """The entries of one touchpoint: the event itself first, then its claims."""
        identifiers = event.identifiers
        if event.type == CUSTOMERS_MERGED:
            source, into = (normalise(CUSTOMER, str(event.properties[name])) for name in ("from", "into"))
            one, other = f"{CUSTOMER}:{source}", f"{CUSTOMER}:{into}"
            return [Unite(max(one, other), origin, event.event_id, one, other, into)]
        customer = identifiers.get(CUSTOMER)
        if customer is None:
            profile = next(f"{kind}:{identifiers[kind]}" for kind in self._kinds if kind in identifiers)
            return [_event(profile, origin, event, [], traceparent)]
        profile = f"{CUSTOMER}:{customer}"
        if len(identifiers) == 1:
            return [_event(profile, origin, event, [], traceparent)]
        claimant = None if event.type == LOGGED_OUT else profile
        claims = [
            name
            for kind, value in sorted(identifiers.items())
            if kind != CUSTOMER and self._claim(name := f"{kind}:{value}", claimant, origin.time)
        ]
        return [
            _event(profile, origin, event, claims if claimant is not None else [], traceparent),
            *(Claim(name, claimant, origin.time, event.event_id) for name in claims),
        ]

    def _claim(self, name: str, claimant: str | None, now: int) -> bool:
        former = self._claimed.get(name)
        if former is not None and claimant is not None and former[0] == claimant and 0 <= now - former[1] < CLAIM_EVERY:
            return False
        if len(self._claimed) >= self._drop_at:
            self._claimed = {key: value for key, value in self._claimed.items() if now - value[1] < CLAIM_EVERY}
            self._drop_at = max(REMEMBERED, 2 * len(self._claimed))
        self._claimed[name] = claimant, now
        return True

    def outcome(self, origin: Origin, outcome: Outcome) -> list[ProfileEntry]:
        """The entry of one outcome."""
        return [
            OutcomeEntry(
                outcome.profile,
                origin,
                outcome.outcome_id,
                outcome.action_id,
                outcome.kind,
                outcome.channel,
                outcome.at,
                outcome.permanent,
                outcome.detail,
            )
        ]


def _event(profile: str, origin: Origin, event: Touchpoint, claims: list[str], traceparent: str | None) -> Event:
    return Event(
        profile,
        origin,
        event.event_id,
        event.type,
        event.channel,
        event.occurred_at,
        event.identifiers,
        event.properties,
        claims,
        traceparent,
    )
