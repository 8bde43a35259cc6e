"""When timers are due: a time after the stage was entered, silence, working time, local times, and dates.

Each trigger is compiled once to a small object. `due(profile, instance)` is when it is due (ms), 0 when it is not: it
has fired, or nothing says when. `mark(profile, instance, due)` is what `Instance.fired` keeps of its firing under its
index, so that it fires once: for times since the stage was entered the base that they count from, for dates the last
local day that is dealt with. A day that had passed when it became known is dealt with by `pass_over`, without firing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from schemas.journey import AT, Handler, Journey
from schemas.policy import WEEKDAYS
from schemas.zones import zone
from streams.engine.calendar import Calendar, Delay, calendar_of, delay, minutes, working_after
from streams.engine.durations import DAY, duration
from streams.engine.localtime import LAST_YEAR, day_of, local, moment, next_moment, zone_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from zoneinfo import ZoneInfo

    from schemas.policy import Policy
    from streams.engine.profile import Instance, Profile
    from streams.engine.rules import Rules

TIME_ZONE = "time_zone"  # the trait
_AT = re.compile(AT)


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """What local and working time go by: the policy's time zone, and its calendar."""

    zone: str
    where: ZoneInfo
    calendar: Calendar


def clock_of(policy: Policy) -> Clock:
    """The policy's clock."""
    where = zone(policy.time_zone)
    assert where is not None, "the policy's time zone is checked when it is loaded"
    return Clock(policy.time_zone, where, calendar_of(policy))


@dataclass(frozen=True, slots=True)
class Elapsed:
    """`after: 24h`."""

    index: int
    after: int

    def due(self, _: Profile, instance: Instance, /) -> int:
        """So long after the stage was entered."""
        base = instance.entered
        return 0 if instance.fired.get(self.index) == base else base + self.after

    def mark(self, _: Profile, __: Instance, due: int, /) -> int:
        """The time it counted from."""
        return due - self.after


@dataclass(frozen=True, slots=True)
class Silence:
    """`after: 30m of silence`."""

    index: int
    after: int

    def due(self, profile: Profile, instance: Instance, /) -> int:
        """So long after the last touchpoint, or after the stage was entered."""
        base = max(instance.entered, profile.activity)
        return 0 if instance.fired.get(self.index) == base else base + self.after

    def mark(self, _: Profile, __: Instance, due: int, /) -> int:
        """The time it counted from: after the next touchpoint it may fire again."""
        return due - self.after


@dataclass(frozen=True, slots=True)
class Working:
    """`after: 8 working hours`, `after: 3 working days`."""

    index: int
    wait: Delay
    clock: Clock

    def due(self, _: Profile, instance: Instance, /) -> int:
        """By the policy's calendar, in its time zone."""
        if self.index in instance.fired:
            return 0
        return working_after(instance.entered, self.wait, self.clock.calendar, self.clock.where)

    def mark(self, _: Profile, instance: Instance, __: int, /) -> int:
        """The time it counted from."""
        return instance.entered


@dataclass(frozen=True, slots=True)
class Local:
    """`at: monday 09:00`, `after: 2d at 09:00`: the first such time, at least `wait` after the stage was entered.

    `days` says which: those of a weekday, working days (a calendar), or all. Of a customer whose time zone becomes
    another, it is the first such time in that zone from then on.
    """

    index: int
    minute: int
    days: int | Calendar | None
    wait: Delay
    clock: Clock

    def due(self, profile: Profile, instance: Instance, /) -> int:
        """By the customer's clock."""
        if self.index in instance.fired:
            return 0
        since = working_after(instance.entered, self.wait, self.clock.calendar, self.clock.where)
        if not since:
            return 0
        where, known = _zone(profile, self.clock)
        return _next(max(since, known), self.minute, where, self.days)

    def mark(self, _: Profile, instance: Instance, __: int, /) -> int:
        """The time it counted from."""
        return instance.entered


@dataclass(frozen=True, slots=True)
class Dated:
    """`at: 7d before traits.renewal 09:00`: on the day that a trait or variable says, and `offset` days."""

    index: int
    minute: int
    root: str
    name: str
    offset: int
    clock: Clock
    text: str = ""

    def due(self, profile: Profile, instance: Instance, /) -> int:
        """By the customer's clock, if that is after the stage was entered."""
        day = self._day(profile, instance)
        if day is None or day.toordinal() <= instance.fired.get(self.index, 0):
            return 0
        found = moment(day, self.minute, _zone(profile, self.clock)[0])
        return found if found > instance.entered else 0

    def mark(self, profile: Profile, instance: Instance, _: int, /) -> int:
        """The day: so a date that moves to a later day fires again, and no day twice."""
        day = self._day(profile, instance)
        assert day is not None, "what is due has a day"
        return day.toordinal()

    def pass_over(self, profile: Profile, instance: Instance, now: int) -> None:
        """Deal with the days that had passed when the date became known, at `now`."""
        due = self.due(profile, instance)
        if due and due <= now:
            where = _zone(profile, self.clock)[0]
            today = local(now, where).date()
            late = moment(today, self.minute, where) > now
            instance.fired[self.index] = today.toordinal() - late

    def value(self, profile: Profile, instance: Instance) -> Any:
        """What the trait or variable says; None when there is none."""
        if self.root == "vars":
            return instance.vars.get(self.name)
        trait = profile.traits.get(self.name)
        return trait.value if trait is not None else None

    def _day(self, profile: Profile, instance: Instance) -> date | None:
        day = day_of(self.value(profile, instance))
        return _plus(day, self.offset) if day is not None else None


@dataclass(frozen=True, slots=True)
class Yearly(Dated):
    """`at: each traits.birthday 09:00`; who was born on 29 February has it on the 28th in other years."""

    def due(self, profile: Profile, instance: Instance, /) -> int:
        """The first such day after the stage was entered, and after those that are dealt with."""
        day = self._day(profile, instance)
        if day is None:
            return 0
        where = _zone(profile, self.clock)[0]
        done = instance.fired.get(self.index, 0)
        year = local(instance.entered, where).year
        first = max(year, date.fromordinal(done).year) if done else year
        for year in range(first, min(first + 3, LAST_YEAR)):
            this = _in_year(day, year)
            if this.toordinal() > done and (found := moment(this, self.minute, where)) > instance.entered:
                return found
        return 0

    def mark(self, profile: Profile, _: Instance, due: int, /) -> int:
        """The last day of the year: so it fires once a year, also for a date that moves."""
        return date(local(due, _zone(profile, self.clock)[0]).year, 12, 31).toordinal()

    def _day(self, profile: Profile, instance: Instance) -> date | None:
        value = self.value(profile, instance)
        # Of some people only the day is known: 02-29, or --02-29 as ISO 8601 had it.
        if isinstance(value, str) and re.fullmatch(r"(--)?[0-9]{2}-[0-9]{2}", value):
            value = f"2000-{value[-5:]}"
        return day_of(value)


Timing = Elapsed | Silence | Working | Local | Dated


def compile_timing(handler: Handler, index: int, clock: Clock) -> Timing | None:
    """What a handler's `after` or `at` says; None: it has neither."""
    if handler.after is not None:
        return _after(handler.after, index, clock)
    return _at(handler.at, index, clock) if handler.at is not None else None


def why(timing: Timing, text: str) -> str:
    """What a transition says of the timer that made it, which was written as `text`."""
    return f"after {timing.after // 1000} s" if isinstance(timing, Elapsed | Silence) else text


def _after(text: str, index: int, clock: Clock) -> Timing:
    wait, _, rest = text.partition(" at ")
    if rest:
        by = delay(wait)
        return Local(index, minutes(rest), clock.calendar if "working" in wait else None, by, clock)
    if wait.endswith("silence"):
        return Silence(index, duration(wait.split()[0]))
    return Working(index, delay(wait), clock) if "working" in wait else Elapsed(index, duration(wait))


def _at(text: str, index: int, clock: Clock) -> Timing:
    found = _AT.fullmatch(text)
    assert found is not None, "the schema admits nothing else"
    minute = minutes(found["clock"] or found["time"])
    if found["name"] is None:
        day = found["day"]
        days = clock.calendar if day == "working day" else WEEKDAYS.index(day) if day is not None else None
        # Strictly after it was entered: else a stage that leads back to itself would fire without end.
        return Local(index, minute, days, Delay(1, 0), clock)
    shift = duration(found["shift"]) // DAY * (-1 if found["side"] == "before" else 1) if found["shift"] else 0
    kind = Yearly if found["each"] else Dated
    return kind(index, minute, found["root"], found["name"], shift, clock, f"at {text}")


def timed_by(journey: Journey) -> frozenset[str]:
    """The traits that a journey's timers read: a change of one moves timers."""
    read: set[str] = set()
    for stage in journey.stages.values():
        for handler in stage:
            if handler.at is not None:
                found = _AT.fullmatch(handler.at)
                read.add(TIME_ZONE)
                if found is not None and found["root"] == "traits":
                    read.add(found["name"])
            elif " at " in (handler.after or ""):
                read.add(TIME_ZONE)
    return frozenset(read)


def learn(profile: Profile, rules: Rules, names: Collection[str], now: int) -> None:
    """Traits of these names have changed at `now`: what they say of days that have passed comes too late."""
    for instance in profile.instances.values():
        if not instance.ended:
            stage = rules.journey(instance.journey, instance.version).stages[instance.stage]
            for dated in stage.dated:
                if dated.root == "traits" and dated.name in names:
                    dated.pass_over(profile, instance, now)


def dates(profile: Profile, rules: Rules) -> dict[tuple[str, int], int]:
    """When the timers of dates are due, by instance and index."""
    return {
        (instance.id, dated.index): dated.due(profile, instance)
        for instance in profile.instances.values()
        if not instance.ended
        for dated in rules.journey(instance.journey, instance.version).stages[instance.stage].dated
    }


def united(profile: Profile, rules: Rules, before: dict[tuple[str, int], int], now: int) -> None:
    """Two profiles were merged at `now`: what one learnt from the other of days that have passed comes too late.

    What was due `before`, and has not fired because its partition's time was behind, is due still.
    """
    for instance in profile.instances.values():
        if not instance.ended:
            for dated in rules.journey(instance.journey, instance.version).stages[instance.stage].dated:
                if dated.due(profile, instance) != before.get((instance.id, dated.index)):
                    dated.pass_over(profile, instance, now)


def _zone(profile: Profile, clock: Clock) -> tuple[ZoneInfo, int]:
    """The customer's time zone, and since when it is that (ms; 0: it is the policy's)."""
    where = zone_of(profile, clock.zone)
    trait = profile.traits.get(TIME_ZONE)
    return where, trait.at if trait is not None and trait.value == where.key else 0


@lru_cache(maxsize=4096)
def _next(since: int, minute: int, where: ZoneInfo, days: int | Calendar | None) -> int:
    if days is None:
        return next_moment(since, minute, where)
    if isinstance(days, int):
        return next_moment(since, minute, where, lambda day: day.weekday() == days)
    return next_moment(since, minute, where, days.is_working)


def _plus(day: date, days: int) -> date | None:
    """The day so many days later, if it is one of those that timers know."""
    ordinal = day.toordinal() + days
    return date.fromordinal(ordinal) if _FIRST <= ordinal <= _LAST else None


def _in_year(day: date, year: int) -> date:
    if (day.month, day.day) == (2, 29):
        return date(year, 3, 1) - timedelta(days=1)
    return day.replace(year=year)


_FIRST, _LAST = date(1970, 1, 1).toordinal(), date(LAST_YEAR, 1, 1).toordinal()
