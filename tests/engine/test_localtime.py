"""Local time: both changes of the clock, in three zones, and what holds of every moment."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.zones import zone
from streams.engine.localtime import EPOCH, LAST, day_of, local, moment, next_moment, window_start
from tests.engine.effort import examples

HELSINKI, NEW_YORK, LORD_HOWE = "Europe/Helsinki", "America/New_York", "Australia/Lord_Howe"
ZONES = st.sampled_from([HELSINKI, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kathmandu", "Pacific/Apia"])
MOMENTS = st.integers(0, 4_102_444_800_000)  # to 2100


@pytest.mark.parametrize(
    ("where", "day", "clock", "utc"),
    [
        (HELSINKI, "2026-03-29", "02:59", "2026-03-29T00:59Z"),
        (HELSINKI, "2026-03-29", "03:00", "2026-03-29T01:00Z"),  # skipped: it is 04:00 at once
        (HELSINKI, "2026-03-29", "03:30", "2026-03-29T01:00Z"),
        (HELSINKI, "2026-03-29", "04:00", "2026-03-29T01:00Z"),
        (HELSINKI, "2026-10-25", "03:30", "2026-10-25T00:30Z"),  # comes twice: the first
        (HELSINKI, "2026-10-25", "04:00", "2026-10-25T02:00Z"),
        (NEW_YORK, "2026-03-08", "02:30", "2026-03-08T07:00Z"),
        (NEW_YORK, "2026-11-01", "01:30", "2026-11-01T05:30Z"),
        (NEW_YORK, "2026-11-01", "02:00", "2026-11-01T07:00Z"),
        (LORD_HOWE, "2026-10-04", "02:15", "2026-10-03T15:30Z"),  # half an hour is skipped
        (LORD_HOWE, "2026-10-04", "02:30", "2026-10-03T15:30Z"),
        (LORD_HOWE, "2026-04-05", "01:45", "2026-04-04T14:45Z"),  # half an hour comes twice
        (LORD_HOWE, "2026-04-05", "02:00", "2026-04-04T15:30Z"),
        ("Pacific/Apia", "2011-12-30", "12:00", "2011-12-30T10:00Z"),  # a day that was left out
    ],
)
def test_local_times_over_a_change_of_the_clock(where: str, day: str, clock: str, utc: str) -> None:
    """Skipped: the next there is; twice: the first."""
    found, (hour, minute) = zone(where), map(int, clock.split(":"))
    assert found is not None
    expected = datetime.fromisoformat(utc)
    assert moment(date.fromisoformat(day), hour * 60 + minute, found) == (expected - EPOCH).total_seconds() * 1000


@given(MOMENTS, ZONES, st.integers(0, 1439))
@examples(300)
def test_the_next_moment_is_the_first_that_shows_the_time(since: int, name: str, minute: int) -> None:
    """It is not before `since`, less than 50 hours after it, and shows the time unless the clock skips it."""
    where = zone(name)
    assert where is not None
    found = next_moment(since, minute, where)
    assert since <= found < since + 50 * 3_600_000
    shown = local(found, where)
    assert shown.second == 0
    assert shown.hour * 60 + shown.minute >= minute or shown.utcoffset() != local(found - 1000, where).utcoffset()


@given(MOMENTS, ZONES, st.sampled_from(["day", "week", "month", "year"]))
@examples(300)
def test_a_window_holds_its_moment(now: int, name: str, unit: str) -> None:
    """It began at or before now, and the same window begins there for all of its moments."""
    where = zone(name)
    assert where is not None
    start = window_start(now, unit, where)
    longest = {"day": 26, "week": 8 * 24, "month": 32 * 24, "year": 367 * 24}[unit] * 3_600_000
    assert start <= now < start + longest
    assert window_start(max(start, 0), unit, where) == start or start < 0


def test_no_moment_is_beyond_the_calendar() -> None:
    """Times far ahead show the last that the calendar holds, and do not fail."""
    where = zone(LORD_HOWE)
    assert where is not None
    assert local(LAST * 10, where) == local(LAST, where)


def test_zones_are_names_and_nothing_else() -> None:
    """A name is no path, and a folder is no zone."""
    for name in ("", ".", "../UTC", "/UTC", "Europe", "Europe/", "Nowhere/Land", "UTC/", "x" * 100, "tzdata.zi"):
        assert zone(name) is None
    assert zone("America/Argentina/Buenos_Aires") is not None
    assert zone("Etc/GMT+12") is not None


def test_days_are_read_from_dates_and_times() -> None:
    """The date is what stands first."""
    assert day_of("2026-03-02") == day_of("2026-03-02T23:30:00+02:00") == date(2026, 3, 2)
    assert day_of("soon") is day_of(20260302) is day_of(None) is day_of("2026-13-01") is None
