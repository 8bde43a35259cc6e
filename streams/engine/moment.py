"""What conditions and expressions see: the profile, the instance, the event, the rules and the time of one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from schemas.journal import Event
from streams.engine import arbitration, cases, windows
from streams.engine.conditions import Absent
from streams.engine.localtime import zone_of
from streams.engine.profile import Instance, Profile

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from streams.engine.cel_asking import Window
    from streams.engine.rules import Rules
    from streams.engine.step import Step


class Traits:
    """A read-only view of trait values for conditions."""

    __slots__ = ("_traits",)

    def __init__(self, traits: dict[str, Any]) -> None:
        self._traits = traits

    def __getitem__(self, name: str) -> Any:
        return self._traits[name].value

    def __contains__(self, name: object) -> bool:
        return name in self._traits

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default`."""
        trait = self._traits.get(name)
        return default if trait is None else trait.value


class Moment:
    """What a condition sees: profile, instance (None before entry), event (None for a timer), and time."""

    __slots__ = ("event", "instance", "now", "profile", "queued_before", "quiet", "rules", "sent_before", "step")

    def __init__(self, profile: Profile, event: Event | None, now: int, rules: Rules, step: Step) -> None:
        self.profile, self.event, self.now, self.rules, self.step = profile, event, now, rules, step
        self.instance: Instance | None = None
        self.sent_before = len(step.effects)
        self.queued_before = len(step.contenders)
        self.quiet = False  # whether nothing may be sent because of it: a merge, an edit

    @property
    def event_time(self) -> int:
        """When the event happened (ms), never later than now."""
        return self.now if self.event is None else min(self.event.occurred_at, self.now)

    @property
    def traits(self) -> Traits:
        """The profile's traits."""
        return Traits(self.profile.traits)

    @property
    def vars(self) -> dict[str, Any]:
        """The instance's variables."""
        return self.instance.vars if self.instance is not None else {}

    @property
    def stage(self) -> str:
        """The instance's stage."""
        return self.instance.stage if self.instance is not None else ""

    @property
    def profile_id(self) -> str:
        """The profile's kind:id."""
        return self.profile.id

    def count(self, event_type: str | None) -> int:
        """Touchpoints the journey listens to since entry, of one type or all."""
        if self.instance is None:
            return 0
        counts = self.instance.counts
        return sum(counts.values()) if event_type is None else counts.get(event_type, 0)

    def profile_count(self, event_type: str | None) -> int:
        """Touchpoints of the profile, of one type or all."""
        return self.profile.total(event_type)

    def best(self, place: str) -> dict[str, Any]:
        """The best offer for a place. Raises Absent where there is none."""
        found = arbitration.best(Moment(self.profile, None, self.now, self.rules, self.step), place)
        if found is None:
            raise Absent(place)
        return found

    def is_open(self, kind: str) -> bool:
        """Whether a case of this kind is open."""
        return cases.newest_open(self.profile, kind) is not None

    def case(self, kind: str, name: str) -> Any:
        """What the case of this kind that the event is about, else the newest open one, carries under this name."""
        return cases.part(self.profile, kind, name, self.event)

    @property
    def entrant(self) -> str:
        """The profile that entered the journey, whatever it has become part of since; or that may enter now."""
        return self.instance.profile if self.instance is not None else self.profile.id

    def window(self, window: Window, wanted: Any = None) -> Any:
        """What the profile's series give over a window, `wanted` being the value of its `by`."""
        return windows.value(self.profile, window, self.now, self.rules.policy.time_zone, wanted)

    def zone(self) -> ZoneInfo:
        """The customer's time zone."""
        return zone_of(self.profile, self.rules.policy.time_zone)


def holds(condition: Callable[[Any], bool] | None, moment: Moment) -> bool:
    """Whether a condition holds; one that touches something absent is false as a whole, and counted."""
    if condition is None:
        return True
    try:
        return condition(moment)
    except Absent:
        moment.step.stats.absent += 1
        return False
