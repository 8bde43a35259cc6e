"""A context for expressions, made of plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.journal import Event, Origin
from schemas.zones import zone
from streams.engine.conditions import Absent

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from streams.engine.cel_asking import Window

NOW = 1_700_000_000_000  # 2023-11-14T22:13:20Z
MINUTE = 60_000


def event(properties: dict[str, Any] | None = None, **parts: Any) -> Event:
    """A page view of customer 7, with these properties."""
    given: dict[str, Any] = {
        "profile": "customer:7",
        "origin": Origin(0, 0, 0, NOW),
        "event_id": "e-1",
        "type": "page_viewed",
        "channel": "web",
        "occurred_at": NOW - 5 * MINUTE,
        "identifiers": {"customer": "7", "email": "a@example.org"},
        "properties": properties or {},
    }
    return Event(**(given | parts))


@dataclass
class Seen:
    """Everything that a condition may see."""

    event: Event | None = None
    event_time: int = NOW - 5 * MINUTE
    vars: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)
    now: int = NOW
    stage: str = "interested"
    profile_id: str = "customer:7"
    counts: dict[str | None, int] = field(default_factory=dict)
    profile_counts: dict[str | None, int] = field(default_factory=dict)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    windows: dict[Window, Any] = field(default_factory=dict)
    matched: dict[tuple[Window, Any], Any] = field(default_factory=dict)
    time_zone: str = "Europe/Helsinki"
    offers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def count(self, event_type: str | None) -> int:
        """How often the instance saw the type."""
        return self.counts.get(event_type, 0)

    def profile_count(self, event_type: str | None) -> int:
        """How often the profile saw the type."""
        return self.profile_counts.get(event_type, 0)

    def best(self, place: str) -> dict[str, Any]:
        """The best offer for the place."""
        if place not in self.offers:
            raise Absent(place)
        return self.offers[place]

    def is_open(self, kind: str) -> bool:
        """Whether a case of this kind is open."""
        return kind in self.cases

    def case(self, kind: str, name: str) -> Any:
        """What the open case of this kind carries."""
        if name not in self.cases.get(kind, {}):
            raise Absent(name)
        return self.cases[kind][name]

    @property
    def entrant(self) -> str:
        """Who entered."""
        return self.profile_id

    def window(self, window: Window, wanted: Any = None) -> Any:
        """What the series give."""
        if window.by:
            return self.matched.get((window, wanted), 0)
        if window not in self.windows:
            raise Absent(window.name)
        return self.windows[window]

    def zone(self) -> ZoneInfo:
        """Where the customer is."""
        found = zone(self.time_zone)
        assert found is not None
        return found
