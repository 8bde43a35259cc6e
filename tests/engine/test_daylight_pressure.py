"""Daylight saving: what caps by the calendar and quiet hours make of both changes of the clock, in three zones.

Helsinki and New York put the clock forward and back by an hour, at 03:00 and at 02:00; Lord Howe by half an hour.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.engine.making import DAY, START, Shop
from tests.engine.pressing import OTHER, TALK, policy, say, welcome

# zone, the day of the change, its midnight and the next as ISO with offsets
DAYS = [
    ("Europe/Helsinki", "2026-03-29T00:00:00+02:00", "2026-03-30T00:00:00+03:00", 23.0),
    ("Europe/Helsinki", "2026-10-25T00:00:00+03:00", "2026-10-26T00:00:00+02:00", 25.0),
    ("America/New_York", "2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00", 23.0),
    ("America/New_York", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", 25.0),
    ("Australia/Lord_Howe", "2026-10-04T00:00:00+10:30", "2026-10-05T00:00:00+11:00", 23.5),
    ("Australia/Lord_Howe", "2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30", 24.5),
]
# zone, hours, proposed at, goes out at: hours that end, or begin, in what is skipped or comes twice
NIGHTS = [
    ("Europe/Helsinki", "21:00-08:00", "2026-03-28T22:00:00+02:00", "2026-03-29T08:00:00+03:00"),
    ("Europe/Helsinki", "21:00-08:00", "2026-10-24T22:00:00+03:00", "2026-10-25T08:00:00+02:00"),
    ("Europe/Helsinki", "22:00-03:30", "2026-03-28T23:00:00+02:00", "2026-03-29T04:00:00+03:00"),  # 03:30 is skipped
    ("Europe/Helsinki", "22:00-03:30", "2026-10-24T23:00:00+03:00", "2026-10-25T03:30:00+03:00"),  # the first 03:30
    ("America/New_York", "21:00-08:00", "2026-03-07T22:00:00-05:00", "2026-03-08T08:00:00-04:00"),
    ("America/New_York", "21:00-08:00", "2026-10-31T22:00:00-04:00", "2026-11-01T08:00:00-05:00"),
    ("America/New_York", "22:00-02:30", "2026-03-07T23:00:00-05:00", "2026-03-08T03:00:00-04:00"),
    ("America/New_York", "22:00-01:30", "2026-10-31T23:00:00-04:00", "2026-11-01T01:30:00-04:00"),
    ("Australia/Lord_Howe", "21:00-08:00", "2026-10-03T22:00:00+10:30", "2026-10-04T08:00:00+11:00"),
    ("Australia/Lord_Howe", "21:00-08:00", "2026-04-04T22:00:00+11:00", "2026-04-05T08:00:00+10:30"),
    ("Australia/Lord_Howe", "22:00-02:15", "2026-10-03T23:00:00+10:30", "2026-10-04T02:30:00+11:00"),
    ("Australia/Lord_Howe", "22:00-01:45", "2026-04-04T23:00:00+11:00", "2026-04-05T01:45:00+11:00"),
]


def _ms(text: str) -> int:
    """A moment after START."""
    return round(datetime.fromisoformat(text).timestamp() * 1000) - START


def _shop(zone: str, **parts: Any) -> Shop:
    made = Shop(TALK, OTHER, policy(time_zone=zone, **parts), partitions=1)
    welcome(made)
    return made


@pytest.mark.parametrize(("zone", "begins", "ends", "hours"), DAYS)
def test_a_day_of_a_cap_is_as_long_as_the_clock_makes_it(zone: str, begins: str, ends: str, hours: float) -> None:
    """One a day: at its first moment, not at its last, at the next day's first."""
    made = _shop(zone, caps={"daily": {"at_most": 1, "within": "day"}})
    first, following = _ms(begins), _ms(ends)
    assert following - first == hours * 3_600_000
    for text, at in (("day before", first - 1), ("first", first), ("last", following - 1), ("next day", following)):
        say(made, text, at)
    assert made.sent == ["day before", "first", "next day"]
    (refused,) = made.decisions("refused")
    assert refused.value == f"1 (next slot {ends})"


@pytest.mark.parametrize(("zone", "begins"), [row[:2] for row in DAYS])
@pytest.mark.parametrize("unit", ["week", "month"])
def test_weeks_and_months_of_a_cap_end_at_local_midnight(zone: str, begins: str, unit: str) -> None:
    """The next slot is free at a midnight, by the offset that holds then."""
    made = _shop(zone, caps={"one": {"at_most": 1, "within": unit}})
    say(made, "first", _ms(begins))
    say(made, "second", _ms(begins) + 1)
    free = datetime.fromisoformat(str(made.decisions("refused")[0].value).partition("slot ")[2].rstrip(")"))
    assert (free.hour, free.minute) == (0, 0)
    assert free.weekday() == 0 if unit == "week" else free.day == 1
    say(made, "too early", _ms(free.isoformat()) - 1)
    say(made, "next", _ms(free.isoformat()))
    assert made.sent == ["first", "next"]


@pytest.mark.parametrize(("zone", "hours", "proposed", "goes"), NIGHTS)
def test_a_night_ends_when_the_clock_says_so(zone: str, hours: str, proposed: str, goes: str) -> None:
    """A local time that is skipped is the next there is; of one that comes twice, the first."""
    made = _shop(zone, quiet={"night": {"hours": hours}})
    say(made, "a", _ms(proposed))
    made.wait(_ms(goes) - 1)
    assert made.sent == []
    made.wait(_ms(goes))
    assert made.sent == ["a"]
    assert made.decisions("held")[0].bound == goes


@pytest.mark.parametrize(("zone", "hours", "proposed"), [row[:3] for row in NIGHTS])
def test_an_action_says_when_the_night_begins_by_the_clock_of_that_night(zone: str, hours: str, proposed: str) -> None:
    """Proposed a day before: the next quiet time is this evening's, whatever the clock does later."""
    made = _shop(zone, quiet={"night": {"hours": hours}})
    at = _ms(proposed) - DAY // 2
    say(made, "a", at)
    (action,) = made.actions
    assert action.quiet_from == START + _ms(f"{proposed[:11]}{hours[:5]}:00{proposed[19:]}")
