"""Quiet hours: when nothing goes out, by the customer's own clock and the policy's calendar.

A period belongs to the day on which it begins, also when it ends after midnight. What stands until the customer comes
(a banner) disturbs nobody: only a rule that names its channel is for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from schemas.policy import WEEKDAYS, Policy, Quiet, several
from streams.engine.calendar import Calendar, calendar_of, minutes
from streams.engine.localtime import MINUTES, local, moment

# Quiet periods that follow one another without a pause. Two weeks of holidays with nights between them are 28.
MOST_IN_A_ROW = 100
LOOK_AHEAD = 400  # days; longer than any day of a year is away
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class QuietTime:
    """A compiled rule: minutes of the day it begins and ends, the latter after midnight when it is not greater."""

    name: str
    begin: int
    end: int
    weekdays: frozenset[int]
    calendar: Calendar | None
    channels: frozenset[str]
    purposes: frozenset[str]
    drop: bool

    def covers(self, channel: str, purpose: str, *, standing: bool) -> bool:
        """Whether it is for this channel and purpose."""
        named = channel in self.channels if self.channels else not standing
        return named and (not self.purposes or purpose in self.purposes)

    def _suits(self, day: date) -> bool:
        if not self.weekdays and self.calendar is None:
            return True
        return day.weekday() in self.weekdays or (self.calendar is not None and self.calendar.is_holiday(day))

    def _end(self, day: date, where: ZoneInfo) -> int:
        last = day if self.end > self.begin else day + _DAY
        return moment(last, self.end, where) if self.end < MINUTES else moment(last + _DAY, 0, where)

    def until(self, now: int, where: ZoneInfo) -> int:
        """When (ms) the quiet ends that `now` lies in; 0: it is not quiet."""
        today = local(now, where).date()
        for day in (today - _DAY, today):
            if self._suits(day) and moment(day, self.begin, where) <= now < (end := self._end(day, where)):
                return end
        return 0

    def next_start(self, now: int, before: int, where: ZoneInfo) -> int:
        """When (ms), after `now` and before `before`, it begins to be quiet; 0: it does not."""
        day, last = local(now, where).date(), local(before, where).date()
        for _ in range(LOOK_AHEAD):
            if day > last:
                return 0
            if self._suits(day) and (begin := moment(day, self.begin, where)) > now:
                return begin if begin < before else 0
            day += _DAY
        return 0


def _quiet(name: str, rule: Quiet, calendar: Calendar) -> QuietTime:
    begin, _, end = (rule.hours or "00:00-24:00").partition("-")
    return QuietTime(
        name,
        minutes(begin),
        minutes(end),
        frozenset(WEEKDAYS.index(day) for day in rule.days or ()),
        calendar if rule.holidays else None,
        frozenset(several(rule.channels)),
        frozenset(several(rule.purposes)),
        rule.then == "drop",
    )


def quiet_times(policy: Policy) -> tuple[QuietTime, ...]:
    """The quiet times of a policy, in the order written."""
    calendar = calendar_of(policy)
    return tuple(_quiet(name, rule, calendar) for name, rule in policy.quiet.items())


def quiet_for(times: tuple[QuietTime, ...], channel: str, purpose: str, *, standing: bool = False) -> list[QuietTime]:
    """Those of the rules that are for a channel and purpose."""
    return [each for each in times if each.covers(channel, purpose, standing=standing)]


def quiet_now(times: list[QuietTime], now: int, where: ZoneInfo) -> tuple[QuietTime, int] | None:
    """The first of these rules that keep `now` quiet, one that drops before others; when all let pass (0: never)."""
    found = sorted((each for each in times if each.until(now, where)), key=lambda each: not each.drop)
    if not found:
        return None
    first = found[0]
    end = now
    for _ in range(MOST_IN_A_ROW):
        later = max(each.until(end, where) for each in times)
        if not later:
            return first, end
        end = later
    return first, 0


def next_quiet(times: list[QuietTime], now: int, before: int, where: ZoneInfo) -> int | None:
    """When it next begins to be quiet by any of these rules, before `before`; None: it does not."""
    begins = [begin for each in times if (begin := each.next_start(now, before, where))]
    return min(begins, default=None)
