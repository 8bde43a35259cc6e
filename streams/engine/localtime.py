"""Local time: what the customer's clock and calendar say, and when they will say something. Times are ms since 1970.

A local time that does not exist (the clock is put forward over it) means the next one that does; of one that comes
twice (the clock is put back) the first is meant. Whatever reads local time reads it here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from schemas.zones import zone

if TYPE_CHECKING:
    from streams.engine.profile import Profile

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTES = 1440  # of a day, as its clock counts them
CALENDAR = ("day", "week", "month", "year")
# The engine's moments lie well within what datetime holds: 1970 to 9998, with a day to spare at each end.
LAST = 253_339_228_800_000
LAST_YEAR = 9998
SECOND = 1000


def zone_of(profile: Profile, default: str) -> ZoneInfo:
    """The customer's zone: the trait `time_zone`, else `default` (the policy's)."""
    trait = profile.traits.get("time_zone")
    found = zone(trait.value) if trait is not None and isinstance(trait.value, str) else None
    found = found or zone(default)
    assert found is not None, "the policy's time zone is checked when it is loaded"
    return found


def local(now: int, where: ZoneInfo) -> datetime:
    """What the clock and calendar of `where` say at `now`."""
    return (EPOCH + timedelta(milliseconds=min(now, LAST))).astimezone(where)


def text(now: int, where: ZoneInfo) -> str:
    """A moment by the clock of `where`, in ISO 8601 with its offset."""
    return local(now, where).isoformat(timespec="seconds")


def moment(day: date, minute: int, where: ZoneInfo) -> int:
    """When it is `minute` minutes after midnight on `day`, by the clock of `where`."""
    naive = datetime(day.year, day.month, day.day, minute // 60, minute % 60)  # noqa: DTZ001 - its zone follows
    there = naive.replace(tzinfo=where, fold=0)
    found = _ms(there)
    if local(found, where).replace(tzinfo=None) == naive:
        return found
    # The clock skips it. With the offset after the skip it would lie before it, with the one before it after it: the
    # first moment whose offset is the later one is the next local time there is.
    early, late = _ms(naive.replace(tzinfo=where, fold=1)), found
    after = local(late, where).utcoffset()
    while late - early > SECOND:
        middle = (early + late) // 2
        early, late = (early, middle) if local(middle, where).utcoffset() == after else (middle, late)
    return late - late % SECOND


def _ms(when: datetime) -> int:
    return round((when - EPOCH).total_seconds() * 1000)


def next_moment(since: int, minute: int, where: ZoneInfo, suits: Callable[[date], bool] = lambda _: True) -> int:
    """The first moment at or after `since` at which it is `minute`, on a day that `suits`; 0: none within two years."""
    day = local(since, where).date()
    for _ in range(732):
        if day.year > LAST_YEAR:
            break
        if suits(day) and (found := moment(day, minute, where)) >= since:
            return found
        day += timedelta(days=1)
    return 0


def window_start(now: int, unit: str, where: ZoneInfo) -> int:
    """When the calendar day, week (from Monday), month or year that `now` lies in began."""
    today = local(now, where).date()
    return _midnight(_first(today, unit), where)


@lru_cache(1024)
def _midnight(day: date, where: ZoneInfo) -> int:
    """When a day begins: always the same, and conditions on calendar windows ask for few again and again."""
    return moment(day, 0, where)


def window_end(now: int, unit: str, where: ZoneInfo) -> int:
    """When the next calendar day, week, month or year after that of `now` begins."""
    first = _first(local(now, where).date(), unit)
    # Each unit's next one begins within so many days of its first, and no second one does.
    return moment(_first(first + timedelta(days={"day": 1, "week": 7, "month": 31, "year": 366}[unit]), unit), 0, where)


def _first(day: date, unit: str) -> date:
    """The first day of the day, week, month or year that a day lies in."""
    first: dict[str, date] = {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "year": day.replace(month=1, day=1),
    }
    return first[unit]


def day_of(value: Any) -> date | None:
    """The date that a trait or variable says: `2026-03-02`, or an ISO 8601 time's; None: it says none."""
    if not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None
