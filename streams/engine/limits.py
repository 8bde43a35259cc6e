"""Caps and distances: how many messages of a kind a customer may get within a time, and how close together.

A distance is a cap of one within its time; what a cap refuses is gone, what a distance refuses waits. Both count the
profile's whole history, united by merges: what was emitted and neither failed, nor expired, nor was withdrawn before
it arrived. Counted are purposes by consent, which limits are for, and others where a limit names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schemas.policy import Cap, Distance, Policy, several
from streams.engine.durations import duration
from streams.engine.localtime import CALENDAR, window_end, window_start, zone_of
from streams.engine.profile import TAKES_A_SLOT, Profile

if TYPE_CHECKING:
    from streams.engine.verdicts import Proposed


class Full(NamedTuple):
    """A limit that lets no more pass: how many it counted, and when (ms) the next slot is free."""

    limit: Limit
    counted: int
    free: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A compiled cap or distance. Filters that are empty let all pass; `unit` is of the calendar, else `window` ms."""

    name: str
    at_most: int
    window: int
    unit: str
    written: str
    purposes: frozenset[str]
    channels: frozenset[str]
    journeys: frozenset[str]
    topics: frozenset[str]
    per: str

    @property
    def by_channel(self) -> bool:
        """Whether it depends on the channel that is chosen."""
        return bool(self.channels) or self.per == "channel"

    @property
    def bound(self) -> str:
        """What it allows, in words."""
        return f"{self.at_most} within {f'a {self.unit}' if self.unit else self.written}"

    def covers(self, purpose: str, channel: str, journey: str, topic: str) -> bool:
        """Whether it is for messages like this."""
        return (
            (not self.purposes or purpose in self.purposes)
            and (not self.channels or channel in self.channels)
            and (not self.journeys or journey in self.journeys)
            and (not self.topics or topic in self.topics)
            and (self.per != "topic" or bool(topic))
        )

    def full(self, profile: Profile, proposed: Proposed, channel: str, now: int, default: str) -> Full | None:
        """What keeps one more from passing at `now` by this channel; None: nothing does."""
        purpose, journey, topic = proposed.purpose, proposed.instance.journey, proposed.topic
        if not self.covers(purpose, channel, journey, topic):
            return None
        if self.unit:
            where = zone_of(profile, default)
            since = window_start(now, self.unit, where)
        else:
            since = now - self.window + 1
        group = {"topic": topic, "journey": journey, "channel": channel, "purpose": purpose}.get(self.per)
        times = [
            contact.at
            for contact in profile.contacts.values()
            if contact.at >= since
            and contact.status in TAKES_A_SLOT
            and (contact.basis == "consent" or contact.purpose in self.purposes)
            and self.covers(contact.purpose, contact.channel, contact.journey, contact.topic)
            and (group is None or getattr(contact, self.per) == group)
        ]
        if len(times) < self.at_most:
            return None
        if self.unit:
            return Full(self, len(times), window_end(now, self.unit, where))
        return Full(self, len(times), sorted(times)[len(times) - self.at_most] + self.window)


def _limit(name: str, limit: Cap | Distance) -> Limit:
    within = limit.within if isinstance(limit, Cap) else limit.least
    calendar = within in CALENDAR
    return Limit(
        name,
        limit.at_most if isinstance(limit, Cap) else 1,
        0 if calendar else duration(within),
        within if calendar else "",
        within,
        frozenset(several(limit.purpose)),
        frozenset(several(limit.channel)),
        frozenset(several(limit.journey)),
        frozenset(several(limit.topic)),
        limit.per or "",
    )


def caps(policy: Policy) -> tuple[Limit, ...]:
    """The caps of a policy, in the order written."""
    return tuple(_limit(name, cap) for name, cap in policy.caps.items())


def distances(policy: Policy) -> tuple[Limit, ...]:
    """The distances of a policy, in the order written."""
    return tuple(_limit(name, distance) for name, distance in policy.distances.items())
