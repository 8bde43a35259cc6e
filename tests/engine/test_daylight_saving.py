"""Daylight saving: what every construct that reads local time makes of both changes, in three zones.

A local time that the clock skips means the next there is; of one that it shows twice the first is meant. In 2026
Helsinki goes an hour ahead on March 29 at 01:00Z and back on October 25 at 01:00Z; New York on March 8 at 07:00Z and
November 1 at 06:00Z; Lord Howe half an hour ahead on October 3 at 15:30Z and back on April 4 at 15:00Z. Caps, quiet
hours and the like have their rows in `test_daylight_pressure`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from schemas.zones import zone
from streams.engine.localtime import moment
from tests.engine.making import HOUR, POLICY, START, Shop, journey
from tests.engine.test_timing import ms, policy

HELSINKI, NEW_YORK, LORD_HOWE = "Europe/Helsinki", "America/New_York", "Australia/Lord_Howe"


def at(text: str) -> int:
    """Milliseconds since the start of the shop's time."""
    return int(datetime.fromisoformat(text).timestamp() * 1000) - START


def told(where: str, expression: str, when: str, seen: tuple[str, ...] = ()) -> Any:
    """What an expression gives at a moment, to a customer of this zone who was seen at others."""
    tell = {"when": "tell", "set": {"x": expression}, "do": [{"stop_ads": {"say": "-", "x": "vars.x"}}]}
    asking = journey("asking", {"open": [tell]})
    shop = Shop(asking, POLICY.model_copy(update={"time_zone": where}))
    shop.see("hello", at(min((*seen, when))) - 1)
    for each in seen:
        shop.see("paid", at(each), amount=1)
    shop.see("tell", at(when))
    return shop.actions[-1].params["x"]


# ---- now.hour(), .weekday(), .date()

CLOCKS = [
    (HELSINKI, "2026-03-29T00:59:59Z", 2, "2026-03-29"),
    (HELSINKI, "2026-03-29T01:00:00Z", 4, "2026-03-29"),  # three is skipped
    (HELSINKI, "2026-10-25T00:59:59Z", 3, "2026-10-25"),
    (HELSINKI, "2026-10-25T01:00:00Z", 3, "2026-10-25"),  # and comes twice
    (HELSINKI, "2026-10-25T02:00:00Z", 4, "2026-10-25"),
    (NEW_YORK, "2026-03-08T06:59:59Z", 1, "2026-03-08"),
    (NEW_YORK, "2026-03-08T07:00:00Z", 3, "2026-03-08"),
    (NEW_YORK, "2026-11-01T05:59:59Z", 1, "2026-11-01"),
    (NEW_YORK, "2026-11-01T06:00:00Z", 1, "2026-11-01"),
    (NEW_YORK, "2026-11-01T03:59:59Z", 23, "2026-10-31"),
    (LORD_HOWE, "2026-10-03T15:29:59Z", 1, "2026-10-04"),
    (LORD_HOWE, "2026-10-03T15:30:00Z", 2, "2026-10-04"),  # half past two at once
    (LORD_HOWE, "2026-04-04T14:59:59Z", 1, "2026-04-05"),
    (LORD_HOWE, "2026-04-04T15:00:00Z", 1, "2026-04-05"),  # half past one again
    (LORD_HOWE, "2026-04-04T15:30:00Z", 2, "2026-04-05"),
]


@pytest.mark.parametrize(("where", "when", "hour", "day"), CLOCKS)
def test_the_customers_clock(where: str, when: str, hour: int, day: str) -> None:
    """Hour, weekday and date are those that the clock and the calendar show there."""
    assert told(where, "now.hour()", when) == hour
    assert told(where, "now.date()", when) == day
    assert told(where, "now.weekday()", when) == datetime.fromisoformat(day).strftime("%A").lower()


# ---- calendar windows: what was seen a moment before, and in the first moment of, the day, week, month

WINDOWS = [
    # the last hour of the short day, the first of the next
    (HELSINKI, "this day", "2026-03-29T20:59:00Z", ("2026-03-28T21:59:59Z", "2026-03-28T22:00:00Z"), 1),
    (HELSINKI, "this day", "2026-03-29T21:00:00Z", ("2026-03-28T22:00:00Z", "2026-03-29T20:59:59Z"), 0),
    (HELSINKI, "this day", "2026-10-25T21:59:00Z", ("2026-10-24T20:59:59Z", "2026-10-24T21:00:00Z"), 1),
    (HELSINKI, "this week", "2026-03-30T06:00:00Z", ("2026-03-29T20:59:59Z", "2026-03-29T21:00:00Z"), 1),
    (HELSINKI, "this week", "2026-03-29T20:59:59Z", ("2026-03-22T21:59:59Z", "2026-03-22T22:00:00Z"), 1),
    (HELSINKI, "this month", "2026-03-31T20:59:59Z", ("2026-02-28T21:59:59Z", "2026-02-28T22:00:00Z"), 1),
    (HELSINKI, "this month", "2026-10-31T21:59:59Z", ("2026-09-30T20:59:59Z", "2026-09-30T21:00:00Z"), 1),
    (NEW_YORK, "this day", "2026-03-09T03:59:59Z", ("2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z"), 1),
    (NEW_YORK, "this day", "2026-11-02T04:59:59Z", ("2026-11-01T03:59:59Z", "2026-11-01T04:00:00Z"), 1),
    (NEW_YORK, "this month", "2026-12-01T04:59:59Z", ("2026-11-01T03:59:59Z", "2026-11-01T04:00:00Z"), 1),
    (LORD_HOWE, "this day", "2026-10-04T12:59:59Z", ("2026-10-03T13:29:59Z", "2026-10-03T13:30:00Z"), 1),
    (LORD_HOWE, "this day", "2026-04-05T13:29:59Z", ("2026-04-04T12:59:59Z", "2026-04-04T13:00:00Z"), 1),
    (LORD_HOWE, "this year", "2026-12-31T12:59:59Z", ("2025-12-31T12:59:59Z", "2025-12-31T13:00:00Z"), 1),
]


@pytest.mark.parametrize(("where", "window", "when", "seen", "count"), WINDOWS)
def test_calendar_windows(where: str, window: str, when: str, seen: tuple[str, ...], count: int) -> None:
    """They begin with their first local moment, however long their days are."""
    assert told(where, f'profile.count("paid", "{window}")', when, seen) == count
    assert told(where, f'profile.sum("paid", "amount", "{window}")', when, seen) == count


@pytest.mark.parametrize("where", [HELSINKI, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize("change", ["2026-03-29T01:00:00Z", "2026-11-01T06:00:00Z", "2026-04-04T15:00:00Z"])
def test_rolling_windows_know_no_clock(where: str, change: str) -> None:
    """A day is 24 hours in them."""
    later = datetime.fromisoformat(change).timestamp() + 12 * 3600
    when, first = (datetime.fromtimestamp(each).astimezone().isoformat() for each in (later, later - 24 * 3600))
    assert told(where, 'profile.count("paid", "1d")', when, (first,)) == 0
    assert told(where, 'profile.count("paid", "1d")', when, (change,)) == 1


# ---- timers


class Change(NamedTuple):
    """A zone, the day (a Sunday) on which its clock changes, a time of that day, and when it is that (UTC)."""

    zone: str
    day: str
    clock: str
    due: str


CHANGES = [
    Change("Europe/Helsinki", "2026-03-29", "03:30", "2026-03-29T01:00+00:00"),  # skipped: it is 04:00 at once
    Change("Europe/Helsinki", "2026-03-29", "09:00", "2026-03-29T06:00+00:00"),
    Change("Europe/Helsinki", "2026-10-25", "03:30", "2026-10-25T00:30+00:00"),  # comes twice: the first
    Change("Europe/Helsinki", "2026-10-25", "09:00", "2026-10-25T07:00+00:00"),
    Change("America/New_York", "2026-03-08", "02:30", "2026-03-08T07:00+00:00"),
    Change("America/New_York", "2026-03-08", "09:00", "2026-03-08T13:00+00:00"),
    Change("America/New_York", "2026-11-01", "01:30", "2026-11-01T05:30+00:00"),
    Change("America/New_York", "2026-11-01", "09:00", "2026-11-01T14:00+00:00"),
    Change("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30+00:00"),  # half an hour is skipped
    Change("Australia/Lord_Howe", "2026-10-04", "09:00", "2026-10-03T22:00+00:00"),
    Change("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04T14:45+00:00"),  # half an hour comes twice
    Change("Australia/Lord_Howe", "2026-04-05", "09:00", "2026-04-04T22:30+00:00"),
]

WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ALWAYS = {"working": dict.fromkeys(WEEK, "00:00-24:00")}
SUNDAYS = {"working": {"sunday": "00:00-24:00"}}
NOON, CLOCK = "12:00", "{clock}"
# The timer, the policy's calendar, and the local time of the day before at which the stage is entered.
TIMERS: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"at": "{clock}"}, {}, NOON),
    ({"at": "sunday {clock}"}, {}, NOON),
    ({"at": "working day {clock}"}, SUNDAYS, NOON),
    ({"after": "1d at {clock}"}, {}, "00:30"),
    ({"after": "5h at {clock}"}, {}, NOON),
    ({"after": "1 working day"}, ALWAYS, CLOCK),
    ({"after": "1 working day at {clock}"}, ALWAYS, "00:30"),
    ({"at": "traits.day {clock}"}, {}, NOON),
    ({"at": "7d before traits.later {clock}"}, {}, NOON),
    ({"at": "1w after traits.earlier {clock}"}, {}, NOON),
    ({"at": "2d after vars.sent {clock}"}, {}, NOON),
    ({"at": "each traits.born {clock}"}, {}, NOON),
]


def _moment(day: str, clock: str, name: str) -> int:
    where, (hour, minute) = zone(name), map(int, clock.split(":"))
    assert where is not None
    return moment(date.fromisoformat(day), hour * 60 + minute, where)


def _days(day: str, shift: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=shift)).isoformat()


def _rings(timer: dict[str, str], change: Change, calendar: dict[str, Any], entered: str, *, by: str) -> list[int]:
    """When the timer fires; the zone is the policy's or the customer's."""
    made = {key: text.format(clock=change.clock) for key, text in timer.items()}
    stages = {"one": [{**made, "do": [{"stop_ads": {"say": "rang"}}], "end": True}]}
    more: dict[str, Any] = {"calendar": calendar} if calendar else {}
    shop = Shop(
        journey("j", stages, enter={"when": "hello", "set": {"sent": "event.sent"}}),
        policy(time_zone=change.zone if by == "policy" else "UTC", **more),
        partitions=1,
    )
    begin = _moment(_days(change.day, -1), entered.format(clock=change.clock), change.zone) - START
    zoned: dict[str, Any] = {"time_zone": change.zone} if by == "trait" else {}
    dates: dict[str, Any] = {"day": change.day, "later": _days(change.day, 7), "earlier": _days(change.day, -7)}
    shop.see("profile_updated", begin, born=f"1980{change.day[4:]}", **dates, **zoned)
    shop.see("hello", begin, sent=_days(change.day, -2))
    shop.wait(begin + 60 * HOUR)
    return [each.proposed_at for each in shop.actions]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.zone} {change.day} {change.clock}")
@pytest.mark.parametrize(("timer", "calendar", "entered"), TIMERS, ids=str)
def test_timers(timer: dict[str, str], calendar: dict[str, Any], entered: str, change: Change) -> None:
    """Once, at that moment: whether the zone is the policy's or, but for working time, the customer's."""
    assert _rings(timer, change, calendar, entered, by="policy") == [ms(change.due)]
    if "working" not in str(timer):
        assert _rings(timer, change, calendar, entered, by="trait") == [ms(change.due)]


# Of those who work from midnight on: eight hours later, whatever the clock says.
HOURS = [
    ("Europe/Helsinki", "2026-03-29", "2026-03-29T06:00+00:00"),  # 09:00
    ("Europe/Helsinki", "2026-10-25", "2026-10-25T05:00+00:00"),  # 07:00
    ("America/New_York", "2026-03-08", "2026-03-08T13:00+00:00"),
    ("America/New_York", "2026-11-01", "2026-11-01T12:00+00:00"),
    ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T21:30+00:00"),
    ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T21:00+00:00"),
]


@pytest.mark.parametrize(("name", "day", "due"), HOURS)
def test_elapsed_hours_are_hours(name: str, day: str, due: str) -> None:
    """Eight working hours from midnight on, and a day that is 24 hours."""
    change = Change(name, day, "12:00", due)
    assert _rings({"after": "8 working hours"}, change, SUNDAYS, NOON, by="policy") == [ms(due)]
    begin = _moment(_days(day, -1), "12:00", name)
    assert _rings({"after": "24h"}, change, {}, NOON, by="policy") == [begin + 24 * HOUR]
