"""Working time: hours and days by the policy's calendar. Times are ms since 1970.

A calendar's days and hours are those of the policy's time zone. Hours are elapsed ones: where the clock is put forward
within them, a working day is an hour shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from schemas.policy import WEEKDAYS
from streams.engine.durations import HOUR, MINUTE, duration
from streams.engine.localtime import LAST_YEAR, MINUTES, local, moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from schemas.policy import Policy

# Days looked through for working time: 999 working days of a calendar with three days a week lie within.
HORIZON = 3653
MS, WORKING_MS, WORKING_DAYS = range(3)


@dataclass(frozen=True, slots=True)
class Delay:
    """So many ms, ms of working time, or working days."""

    amount: int
    unit: int


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Working hours by weekday, in minutes of the day; holidays of one year (dates) and of all (month, day)."""

    hours: tuple[tuple[tuple[int, int], ...], ...]
    once: frozenset[date]
    yearly: frozenset[tuple[int, int]]

    def is_holiday(self, day: date) -> bool:
        """Whether nobody works on `day`, whatever the weekday."""
        return day in self.once or (day.month, day.day) in self.yearly

    def is_working(self, day: date) -> bool:
        """Whether somebody works on `day`."""
        return bool(self.hours[day.weekday()]) and not self.is_holiday(day)


def delay(text: str) -> Delay:
    """What `24h`, `8 working hours` and `3 working days` say."""
    amount, _, unit = text.partition(" working ")
    if not unit:
        return Delay(duration(text), MS)
    return Delay(int(amount), WORKING_DAYS) if unit[0] == "d" else Delay(int(amount) * HOUR, WORKING_MS)


def minutes(clock: str) -> int:
    """Minutes after midnight of `09:00`; `24:00` is the end of the day."""
    return int(clock[:2]) * 60 + int(clock[3:5])


def calendar_of(policy: Policy) -> Calendar:
    """The policy's calendar, compiled."""
    model = policy.calendar
    spans = (model.working.get(day, []) for day in WEEKDAYS)  # type: ignore[call-overload]  # they are those names
    return Calendar(
        hours=tuple(tuple((minutes(each[:5]), minutes(each[6:])) for each in listed) for listed in spans),
        once=frozenset(date.fromisoformat(each) for each in model.holidays if len(each) > len("12-25")),
        yearly=frozenset((int(each[:2]), int(each[3:])) for each in model.holidays if len(each) == len("12-25")),
    )


@lru_cache(maxsize=4096)
def working_after(since: int, wait: Delay, calendar: Calendar, where: ZoneInfo) -> int:
    """When `wait` has passed since `since`, by `calendar` in the zone `where`; 0: not within ten years.

    Working hours count while somebody works. So many working days later means at the same time of day, counted from
    the first working moment, and in that day's working hours: what is before them moves to their begin, what is after
    them to their end.
    """
    if wait.unit == MS:
        return since + wait.amount
    if wait.unit == WORKING_MS:
        left = wait.amount
        for begin, end in _spans(since, calendar, where):
            if left <= end - begin:
                return begin + left
            left -= end - begin
        return 0
    start = next((begin for begin, _ in _spans(since, calendar, where)), None)
    if start is None:
        return 0
    clock = local(start, where)
    left = wait.amount
    for day in _days(clock.date() + timedelta(days=1), calendar):
        left -= 1
        if left == 0:
            wanted = moment(day, clock.hour * 60 + clock.minute, where) + start % MINUTE
            return _within(wanted, day, calendar, where)
    return 0


def _within(wanted: int, day: date, calendar: Calendar, where: ZoneInfo) -> int:
    """The working moment of `day` at or after `wanted`; the last, when there is none."""
    end = wanted
    for begin, end in _of_day(day, calendar, where):
        if wanted <= end:
            return max(begin, wanted)
    return end


def _days(day: date, calendar: Calendar) -> Iterator[date]:
    """The working days from `day` on."""
    for _ in range(HORIZON):
        if day.year > LAST_YEAR:
            return
        if calendar.is_working(day):
            yield day
        day += timedelta(days=1)


def _of_day(day: date, calendar: Calendar, where: ZoneInfo) -> Iterator[tuple[int, int]]:
    """The working spans (ms) of one day."""
    for begin, end in calendar.hours[day.weekday()]:
        until = moment(day, end, where) if end < MINUTES else moment(day + timedelta(days=1), 0, where)
        yield moment(day, begin, where), until


def _spans(since: int, calendar: Calendar, where: ZoneInfo) -> Iterator[tuple[int, int]]:
    """What is left at `since` of the working spans (ms), in order."""
    for day in _days(local(since, where).date(), calendar):
        for begin, end in _of_day(day, calendar, where):
            if end > since:
                yield max(begin, since), end
