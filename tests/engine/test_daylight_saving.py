"""Daylight saving: what every construct that reads local time makes of both changes, in three zones.

A local time that the clock skips means the next there is; of one that it shows twice the first is meant. In 2026
Helsinki goes an hour ahead on March 29 at 01:00Z and back on October 25 at 01:00Z; New York on March 8 at 07:00Z and
November 1 at 06:00Z; Lord Howe half an hour ahead on October 3 at 15:30Z and back on April 4 at 15:00Z.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.engine.making import POLICY, START, Shop, journey

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
